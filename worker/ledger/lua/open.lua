-- Open a job, or return the one that its identity already has open.
-- ARGV: job, identity or '', source, batch_records, and for a backfill the collections from and
-- to which it copies, or '' and ''. Returns {job, batch_records}.
local function unsettled(id)
  return redis.call('EXISTS', 'doivec:job:' .. id) == 1
    and not redis.call('HGET', 'doivec:job:' .. id, 'settled_at')
end
local id = ARGV[1]
if ARGV[2] ~= '' then
  local known = redis.call('GET', 'doivec:source:' .. ARGV[2])
  if known and unsettled(known) then id = known end
end
local key = 'doivec:job:' .. id
if redis.call('EXISTS', key) == 0 then
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  redis.call('HSET', key, 'source', ARGV[3], 'created_at', string.format('%.0f', now),
    'batch_records', ARGV[4], 'identity', ARGV[2], 'copies_from', ARGV[5], 'copies_to', ARGV[6])
  redis.call('ZADD', 'doivec:jobs', string.format('%.0f', now), id)
  if ARGV[5] == '' then
    redis.call('ZADD', 'doivec:unsettled', string.format('%.0f', now), id)
  end
  if ARGV[2] ~= '' then redis.call('SET', 'doivec:source:' .. ARGV[2], id) end
end
return {id, redis.call('HGET', key, 'batch_records')}
