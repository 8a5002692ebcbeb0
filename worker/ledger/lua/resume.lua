-- Let a paused job go on; its failures so far no longer count towards a pause.
-- ARGV: job. Returns 1 where it was paused.
local key = 'doivec:job:' .. ARGV[1]
if not unpause_job(ARGV[1]) then return 0 end
redis.call('HSET', key, 'note', '', 'refusals', 0,
  'forgiven_dead', redis.call('HGET', key, 'dead') or 0, 'forgiven_records', settled_records(key))
return 1
