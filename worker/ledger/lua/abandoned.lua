-- Seal the open jobs whose producers are gone. ARGV: note, retention_s, limit. Returns the jobs.
local now, found = microseconds(), {}
for _, job in ipairs(redis.call('ZRANGE', 'doivec:producing', '-inf', '(' .. now / 1000, 'BYSCORE',
  'LIMIT', 0, ARGV[3])) do
  if redis.call('EXISTS', 'doivec:job:' .. job) == 0 then
    redis.call('ZREM', 'doivec:producing', job)
  else
    redis.call('HSET', 'doivec:job:' .. job, 'abandoned_at', string.format('%.0f', now))
    close_job(job, string.format('%.0f', now), ARGV[1], ARGV[2])
    table.insert(found, job)
  end
end
return found
