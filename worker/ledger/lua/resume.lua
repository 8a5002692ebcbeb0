-- Let a paused job go on; its failures so far no longer count towards a pause.
-- ARGV: job. Returns 1 where it was paused.
local key = 'doivec:job:' .. ARGV[1]
if redis.call('HDEL', key, 'paused_at') == 0 then return 0 end
redis.call('HSET', key, 'note', '', 'forgiven_dead', redis.call('HGET', key, 'dead') or 0,
  'forgiven_records', settled_records(key))
return 1
