-- Let go of what names jobs that are gone. ARGV: how many of the oldest jobs are looked at.
for _, job in ipairs(redis.call('ZRANGE', 'doivec:jobs', 0, ARGV[1] - 1)) do
  if redis.call('EXISTS', 'doivec:job:' .. job) == 0 then redis.call('ZREM', 'doivec:jobs', job) end
end
for _, job in ipairs(redis.call('SMEMBERS', 'doivec:dead')) do
  if redis.call('EXISTS', 'doivec:dead:' .. job) == 0 then redis.call('SREM', 'doivec:dead', job) end
end
