-- Keep a list that could not be taken in, with the reason; what was accepted of it still settles.
-- ARGV: job, source, reason, digest, retention_s.
local job, key = ARGV[1], 'doivec:job:' .. ARGV[1]
local now = string.format('%.0f', microseconds())
if redis.call('EXISTS', key) == 0 then
  redis.call('HSET', key, 'source', ARGV[2], 'created_at', now, 'batch_records', 1,
    'identity', '', 'digest', ARGV[4], 'rejected_at', now)
  redis.call('ZADD', 'doivec:jobs', now, job)
end
if not redis.call('HGET', key, 'sealed_at') then close_job(job, now, ARGV[3], ARGV[5]) end
