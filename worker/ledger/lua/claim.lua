-- Lease a batch to a worker.
-- ARGV: job, number, token, lease_ms. Returns {verdict}, or {'claimed', body, sequence, again,
-- claims, deaths, epoch, route, copies_from, copies_to}. `epoch`: the newest tombstone. `route`: the
-- number of the route that the batch is written by.
local job, number, member = ARGV[1], ARGV[2], ARGV[1] .. ':' .. ARGV[2]
local batch = 'doivec:batch:' .. member
if redis.call('GETBIT', 'doivec:settled:' .. job, number) == 1 then return {'settled'} end
if redis.call('EXISTS', batch) == 0 then return {'unknown'} end
if redis.call('HGET', 'doivec:job:' .. job, 'paused_at') then return {'paused'} end
local now = math.floor(microseconds() / 1000)
local expiry = redis.call('ZSCORE', 'doivec:leases', member)
local holder = redis.call('HGET', batch, 'token')
if expiry and tonumber(expiry) > now and holder and holder ~= ARGV[3] then return {'leased'} end
redis.call('HSET', batch, 'token', ARGV[3], 'route', route_number())
redis.call('ZADD', 'doivec:leases', now + ARGV[4], member)
local claims = redis.call('HINCRBY', batch, 'claims', 1)
if redis.call('EXISTS', 'doivec:job:' .. job) == 1 then
  redis.call('HSETNX', 'doivec:job:' .. job, 'began_at', string.format('%.0f', microseconds()))
end
local fields = redis.call('HMGET', batch, 'body', 'sequence', 'trying', 'deaths', 'again')
if fields[3] then
  -- The worker before this one died on that record: count it.
  local deaths = cjson.decode(fields[4] or '{}')
  deaths[fields[3]] = (deaths[fields[3]] or 0) + 1
  fields[4] = cjson.encode(deaths)
  redis.call('HSET', batch, 'deaths', fields[4])
  redis.call('HDEL', batch, 'trying')
end
local copies = redis.call('HMGET', 'doivec:job:' .. job, 'copies_from', 'copies_to')
return {'claimed', fields[1], fields[2], fields[5] or '', claims, fields[4] or '{}',
  redis.call('GET', 'doivec:epoch') or '0', redis.call('GET', 'doivec:route') or '0 ',
  copies[1] or '', copies[2] or ''}
