-- What several scripts do; it stands before each of them.
local function waiting(job)
  -- The unsettled batches of backfills are apart: they hold up no producer, and Celery has none.
  if string.sub(job, 1, 9) == 'backfill-' then return 'doivec:backfill' end
  return 'doivec:outstanding'
end

local function route_number()
  return string.match(redis.call('GET', 'doivec:route') or '0', '^%d+')
end

local function microseconds()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function settled_records(key)
  local total = 0
  for _, count in ipairs(redis.call('HMGET', key, 'stored', 'unchanged', 'superseded', 'dead',
    'cancelled')) do
    total = total + (count or 0)
  end
  return total
end

local function finish_batch(job, number, retention_s)
  local member = job .. ':' .. number
  redis.call('SETBIT', 'doivec:settled:' .. job, number, 1)
  redis.call('ZREM', waiting(job), member)
  redis.call('ZREM', 'doivec:leases', member)
  redis.call('HDEL', 'doivec:batch:' .. member, 'token', 'trying', 'deaths', 'claims', 'queued_at',
    'route')
  redis.call('EXPIRE', 'doivec:batch:' .. member, retention_s)
  redis.call('HINCRBY', 'doivec:job:' .. job, 'settled_batches', 1)
end

local function settle_job_if_done(job, now, retention_s)
  local key = 'doivec:job:' .. job
  local fields = redis.call('HMGET', key, 'sealed_at', 'settled_batches', 'batches')
  if not fields[1] or (fields[2] or '0') ~= (fields[3] or '0') then return end
  redis.call('HSET', key, 'settled_at', now)
  redis.call('ZREM', 'doivec:unsettled', job)
  local source = 'doivec:source:' .. (redis.call('HGET', key, 'identity') or '')
  if redis.call('GET', source) == job then redis.call('DEL', source) end
  for _, name in ipairs({'job', 'accepted', 'settled', 'dead', 'rejects'}) do
    redis.call('EXPIRE', 'doivec:' .. name .. ':' .. job, retention_s)
  end
end

local function pause_job_if_failing(job, now, records, share)
  local key = 'doivec:job:' .. job
  local fields = redis.call('HMGET', key, 'dead', 'forgiven_dead', 'forgiven_records', 'settled_at')
  local dead = (fields[1] or 0) - (fields[2] or 0)
  local settled = settled_records(key) - (fields[3] or 0)
  if fields[4] or settled < records or dead < share * settled then return end
  redis.call('HSET', key, 'paused_at', now,
    'note', dead .. ' of the last ' .. settled .. ' records ended as dead letters')
end
