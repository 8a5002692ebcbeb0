-- Cancel a job's batches that no worker has claimed, and of a backfill all; nothing more is
-- accepted for it.
-- ARGV: job, retention_s. Returns how many records were cancelled, or -1 where there is no job.
local job, key = ARGV[1], 'doivec:job:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return -1 end
if redis.call('HGET', key, 'settled_at') then return 0 end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
local count = 0
for _, member in ipairs(redis.call('ZRANGE', waiting(job), 0, -1)) do
  local number = string.match(member, ':(%d+)$')
  if member == job .. ':' .. number
    and ((redis.call('HGET', 'doivec:batch:' .. member, 'claims') or '0') == '0'
      or waiting(job) == 'doivec:backfill') then
    count = count + redis.call('HGET', 'doivec:batch:' .. member, 'records')
    finish_batch(job, number, ARGV[2])
  end
end
redis.call('HINCRBY', key, 'cancelled', count)
redis.call('HSET', key, 'cancelled_at', now)
redis.call('HSETNX', key, 'sealed_at', now)
redis.call('HDEL', key, 'paused_at')
settle_job_if_done(job, now, ARGV[2])
return count
