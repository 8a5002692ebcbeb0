-- Prolong a lease that is still this worker's. ARGV: member, token, lease_ms. Returns 0 or 1.
if redis.call('HGET', 'doivec:batch:' .. ARGV[1], 'token') ~= ARGV[2] then return 0 end
local expiry = math.floor(microseconds() / 1000) + ARGV[3]
redis.call('ZADD', 'doivec:leases', 'XX', expiry, ARGV[1])
return 1
