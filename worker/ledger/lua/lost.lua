-- Batches to queue again: those whose lease ran out, and, where the queue is empty, those that
-- nobody has claimed for a while. ARGV: grace_ms, queue is empty (0 or 1), limit.
-- Returns their members; each counts as queued now.
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
local lost = {}
for _, member in ipairs(redis.call('ZRANGE', 'doivec:leases', '-inf', '(' .. now, 'BYSCORE',
  'LIMIT', 0, ARGV[3])) do
  redis.call('HDEL', 'doivec:batch:' .. member, 'token', 'route')
  if waiting(member) == 'doivec:backfill' then
    redis.call('ZREM', 'doivec:leases', member) -- needs no message: workers look for these
  else
    -- Nobody's, but looked at again should this message be lost too.
    redis.call('ZADD', 'doivec:leases', now + ARGV[1], member)
    table.insert(lost, member)
  end
end
if ARGV[2] == '1' then
  for _, member in ipairs(redis.call('ZRANGE', 'doivec:outstanding', 0, ARGV[3] - 1)) do
    local job = string.match(member, '^(.*):%d+$')
    local queued = tonumber(redis.call('HGET', 'doivec:batch:' .. member, 'queued_at') or 0)
    if not redis.call('ZSCORE', 'doivec:leases', member) and queued + ARGV[1] < now
      and not redis.call('HGET', 'doivec:job:' .. job, 'paused_at') then
      table.insert(lost, member)
    end
  end
end
for _, member in ipairs(lost) do
  redis.call('HSET', 'doivec:batch:' .. member, 'queued_at', now)
end
for _, job in ipairs(redis.call('SMEMBERS', 'doivec:dead')) do
  if redis.call('EXISTS', 'doivec:dead:' .. job) == 0 then redis.call('SREM', 'doivec:dead', job) end
end
return lost
