-- Note that a batch in hand is written by the route as it is now.
-- ARGV: member, token. Returns the route, or nothing where the batch is another worker's.
local batch = 'doivec:batch:' .. ARGV[1]
if redis.call('HGET', batch, 'token') ~= ARGV[2] then return false end
redis.call('HSET', batch, 'route', route_number())
return redis.call('GET', 'doivec:route') or '0 '
