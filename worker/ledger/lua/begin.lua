-- Note that records of a batch may be stored from now on. ARGV: member, token. Returns 0 or 1.
local batch = 'doivec:batch:' .. ARGV[1]
if redis.call('HGET', batch, 'token') ~= ARGV[2] then return 0 end
redis.call('HSET', batch, 'writing', 1)
return 1
