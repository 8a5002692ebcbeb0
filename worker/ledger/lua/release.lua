-- Give a batch back, so that the claim isn't counted.
-- ARGV: member, token, reason or '', how many reasons, one after the other, pause the job.
local batch = 'doivec:batch:' .. ARGV[1]
if redis.call('HGET', batch, 'token') ~= ARGV[2] then return 0 end
redis.call('HDEL', batch, 'token', 'trying', 'route')
redis.call('HINCRBY', batch, 'claims', -1)
redis.call('ZADD', 'doivec:leases', 0, ARGV[1])
redis.call('HSET', batch, 'queued_at', 0)
if ARGV[3] ~= '' then
  local job = job_of(ARGV[1])
  local key = 'doivec:job:' .. job
  local now = string.format('%.0f', microseconds())
  redis.call('HSET', key, 'note', ARGV[3])
  if is_copy(job) then redis.call('ZADD', 'doivec:backfill', now, ARGV[1]) end -- others come first
  if redis.call('HINCRBY', key, 'refusals', 1) >= tonumber(ARGV[4]) then
    pause_job(job, now, ARGV[3])
  end
end
return 1
