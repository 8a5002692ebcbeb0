-- Renew a lease. ARGV: name, token, lease_ms. Returns 0 or 1.
local key = 'doivec:lease:' .. ARGV[1]
if redis.call('HGET', key, 'token') ~= ARGV[2] then return 0 end
redis.call('HINCRBY', key, 'beats', 1)
redis.call('PEXPIRE', key, ARGV[3])
return 1
