-- Give a lease back. ARGV: name, token. Returns 0 or 1.
local key = 'doivec:lease:' .. ARGV[1]
if redis.call('HGET', key, 'token') ~= ARGV[2] then return 0 end
return redis.call('DEL', key)
