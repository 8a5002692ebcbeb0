-- Batches to queue again: those whose lease ran out, and, where the queue is empty, those that
-- nobody has claimed for a while. ARGV: grace_ms, queue is empty (0 or 1), offset, limit.
-- Returns how many were looked at (fewer than the limit: that was all), then their members; each
-- counts as queued now.
local now = math.floor(microseconds() / 1000)
local limit, lost = tonumber(ARGV[4]), {}
local expired = redis.call('ZRANGE', 'doivec:leases', '-inf', '(' .. now, 'BYSCORE',
  'LIMIT', 0, limit)
for _, member in ipairs(expired) do
  local job = job_of(member)
  redis.call('HDEL', 'doivec:batch:' .. member, 'token', 'route')
  if redis.call('EXISTS', 'doivec:batch:' .. member) == 0 then
    redis.call('ZREM', 'doivec:leases', member)
    if job == '' then table.insert(lost, member) end -- damaged: it is told, once
  elseif list_of(job) == 'doivec:outstanding' then
    -- Nobody's, but looked at again should this message be lost too.
    redis.call('ZADD', 'doivec:leases', now + ARGV[1], member)
    table.insert(lost, member)
  else
    redis.call('ZREM', 'doivec:leases', member) -- a copy, or paused: no message is needed
  end
end
local looked = #expired
if ARGV[2] == '1' then
  local last = ARGV[3] + limit - 1
  local page = redis.call('ZRANGE', 'doivec:outstanding', ARGV[3], last)
  for _, member in ipairs(page) do
    local queued = redis.call('HGET', 'doivec:batch:' .. member, 'queued_at')
    if queued and not redis.call('ZSCORE', 'doivec:leases', member)
      and tonumber(queued) + ARGV[1] < now then
      table.insert(lost, member)
    end
  end
  looked = math.max(looked, #page)
end
for _, member in ipairs(lost) do
  if redis.call('EXISTS', 'doivec:batch:' .. member) == 1 then
    redis.call('HSET', 'doivec:batch:' .. member, 'queued_at', now)
  end
end
return {looked, unpack(lost)}
