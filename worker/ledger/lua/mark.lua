-- Note which record is tried next. ARGV: member, token, index. Returns 0 or 1.
local batch = 'doivec:batch:' .. ARGV[1]
if redis.call('HGET', batch, 'token') ~= ARGV[2] then return 0 end
redis.call('HSET', batch, 'trying', ARGV[3])
return 1
