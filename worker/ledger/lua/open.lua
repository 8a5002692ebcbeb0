-- Open a job, or return the one that its identity already has open.
-- ARGV: job, identity or '', digest of what it holds or '', source, batch_records, how long its
-- producer may be silent in ms, and for a backfill the collections from and to which it copies, or
-- '' and ''. Returns {job, batch_records, is it another list: 0 or 1}.
local function unsettled(id)
  return redis.call('EXISTS', 'doivec:job:' .. id) == 1
    and not redis.call('HGET', 'doivec:job:' .. id, 'settled_at')
end
local id, identity, digest = ARGV[1], ARGV[2], ARGV[3]
if identity ~= '' then
  local known = redis.call('GET', 'doivec:source:' .. identity)
  if known and unsettled(known) then id = known end
end
local key, now = 'doivec:job:' .. id, microseconds()
if redis.call('EXISTS', key) == 0 then
  local at = string.format('%.0f', now)
  redis.call('HSET', key, 'source', ARGV[4], 'created_at', at, 'batch_records', ARGV[5],
    'identity', identity, 'digest', digest, 'copies_from', ARGV[7], 'copies_to', ARGV[8])
  redis.call('ZADD', 'doivec:jobs', at, id)
  if identity ~= '' then redis.call('SET', 'doivec:source:' .. identity, id) end
end
local is_other = (redis.call('HGET', key, 'digest') or '') ~= digest
if not is_other and not is_copy(id) and not redis.call('HGET', key, 'sealed_at') then
  redis.call('ZADD', 'doivec:producing', now / 1000 + ARGV[6], id)
end
return {id, redis.call('HGET', key, 'batch_records'), is_other and 1 or 0}
