-- Give a batch back untried, so that the claim isn't counted. ARGV: member, token.
local batch = 'doivec:batch:' .. ARGV[1]
if redis.call('HGET', batch, 'token') ~= ARGV[2] then return 0 end
redis.call('HDEL', batch, 'token', 'trying', 'route')
redis.call('HINCRBY', batch, 'claims', -1)
redis.call('ZADD', 'doivec:leases', 0, ARGV[1])
redis.call('HSET', batch, 'queued_at', 0)
return 1
