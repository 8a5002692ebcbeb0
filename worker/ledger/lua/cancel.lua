-- Cancel a job's batches that no worker holds or has begun to write, and of a backfill all; nothing
-- more is accepted for it. What may be stored already is worked off to its end.
-- ARGV: job, retention_s. Returns how many records were cancelled, or -1 where there is no job.
local job, key = ARGV[1], 'doivec:job:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return -1 end
if redis.call('HGET', key, 'settled_at') then return 0 end
local now, count = string.format('%.0f', microseconds()), 0
for _, number in ipairs(redis.call('ZRANGE', 'doivec:waiting:' .. job, 0, -1)) do
  local batch = 'doivec:batch:' .. job .. ':' .. number
  local fields = redis.call('HMGET', batch, 'claims', 'writing')
  if is_copy(job) or ((fields[1] or '0') == '0' and not fields[2]) then
    count = count + (redis.call('HGET', batch, 'records') or 0)
    finish_batch(job, number, ARGV[2])
  end
end
redis.call('HINCRBY', key, 'cancelled', count)
redis.call('HSET', key, 'cancelled_at', now)
unpause_job(job)
local missing = (redis.call('HGET', key, 'next_number') or 0)
  - redis.call('BITCOUNT', 'doivec:accepted:' .. job)
close_job(job, now, missing > 0 and ('Redis lost ' .. missing .. ' of its batches') or '', ARGV[2])
return count
