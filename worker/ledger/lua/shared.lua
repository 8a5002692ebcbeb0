-- What several scripts do; it stands before each of them.
-- The job of a batch's name; '' of what is no such name.
local function job_of(member)
  return string.match(member, '^(.*):%d+$') or ''
end

-- Where a job's unsettled batches are: all of them in 'doivec:waiting:<job>' (number by sequence);
-- each besides in one list by what may happen to it: 'doivec:backfill' (copies, which hold up no
-- producer and have no messages), 'doivec:parked:<job>' while the job is paused, else
-- 'doivec:outstanding'. 'doivec:oldest' has each ingesting job's lowest unsettled sequence.
local function is_copy(job)
  return (redis.call('HGET', 'doivec:job:' .. job, 'copies_to') or '') ~= ''
end

local function list_of(job)
  if is_copy(job) then return 'doivec:backfill' end
  if redis.call('HGET', 'doivec:job:' .. job, 'paused_at') then return 'doivec:parked:' .. job end
  return 'doivec:outstanding'
end

local function route_number()
  return string.match(redis.call('GET', 'doivec:route') or '0', '^%d+')
end

local function microseconds()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function next_sequence()
  local last = tonumber(redis.call('GET', 'doivec:sequence') or '0')
  local sequence = string.format('%.0f', math.max(microseconds(), last + 1))
  redis.call('SET', 'doivec:sequence', sequence)
  return sequence
end

local function note_oldest(job)
  if is_copy(job) then return end
  local first = redis.call('ZRANGE', 'doivec:waiting:' .. job, 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('ZADD', 'doivec:oldest', first[2], job)
  else
    redis.call('ZREM', 'doivec:oldest', job)
  end
end

-- Take a batch in, to be worked off.
local function enter_batch(job, number, sequence, body, records)
  local member, key = job .. ':' .. number, 'doivec:job:' .. job
  redis.call('DEL', 'doivec:batch:' .. member) -- of an earlier job of this name, settled long ago
  redis.call('SETBIT', 'doivec:accepted:' .. job, number, 1)
  redis.call('HSET', 'doivec:batch:' .. member, 'body', body, 'records', records,
    'sequence', sequence, 'queued_at', string.format('%.0f', microseconds() / 1000))
  redis.call('ZADD', 'doivec:waiting:' .. job, sequence, number)
  redis.call('ZADD', list_of(job), sequence, member)
  redis.call('HINCRBY', key, 'batches', 1)
  if tonumber(number) >= tonumber(redis.call('HGET', key, 'next_number') or '0') then
    redis.call('HSET', key, 'next_number', number + 1)
  end
  note_oldest(job)
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
  redis.call('ZREM', 'doivec:waiting:' .. job, number)
  for _, list in ipairs({'doivec:outstanding', 'doivec:backfill', 'doivec:parked:' .. job,
    'doivec:leases'}) do
    redis.call('ZREM', list, member)
  end
  note_oldest(job)
  redis.call('HDEL', 'doivec:batch:' .. member, 'token', 'trying', 'deaths', 'claims', 'queued_at',
    'route', 'writing')
  redis.call('EXPIRE', 'doivec:batch:' .. member, retention_s)
  redis.call('HINCRBY', 'doivec:job:' .. job, 'settled_batches', 1)
end

-- The same source is another job from now on.
local function forget_source(job)
  local source = 'doivec:source:' .. (redis.call('HGET', 'doivec:job:' .. job, 'identity') or '')
  if redis.call('GET', source) == job then redis.call('DEL', source) end
end

local function settle_job_if_done(job, now, retention_s)
  local key = 'doivec:job:' .. job
  local fields = redis.call('HMGET', key, 'sealed_at', 'settled_batches', 'batches')
  if not fields[1] or (fields[2] or '0') ~= (fields[3] or '0') then return end
  redis.call('HSET', key, 'settled_at', now)
  redis.call('HDEL', key, 'paused_at')
  forget_source(job)
  for _, name in ipairs({'job', 'accepted', 'settled', 'dead', 'rejects'}) do
    redis.call('EXPIRE', 'doivec:' .. name .. ':' .. job, retention_s)
  end
end

-- Seal a job as it is: what it has accepted is all that there will be of it.
local function close_job(job, now, note, retention_s)
  local key = 'doivec:job:' .. job
  redis.call('ZREM', 'doivec:producing', job)
  forget_source(job)
  if redis.call('HSETNX', key, 'sealed_at', now) == 1 then
    redis.call('HSET', key, 'read', redis.call('HGET', key, 'accepted') or '0',
      'produced', redis.call('HGET', key, 'next_number') or '0')
  end
  if note ~= '' then redis.call('HSET', key, 'note', note) end
  settle_job_if_done(job, now, retention_s)
end

-- Move a job's unsettled batches from the list that they are in to the one that they belong to.
local function move_batches(job, from)
  local to = list_of(job)
  local found = redis.call('ZRANGE', 'doivec:waiting:' .. job, 0, -1, 'WITHSCORES')
  for index = 1, #found, 2 do
    local member = job .. ':' .. found[index]
    redis.call('ZREM', from, member)
    redis.call('ZADD', to, found[index + 1], member)
    redis.call('HSET', 'doivec:batch:' .. member, 'queued_at', 0)
  end
end

local function pause_job(job, now, note)
  redis.call('HSET', 'doivec:job:' .. job, 'paused_at', now, 'note', note)
  move_batches(job, 'doivec:outstanding')
end

-- What is moved back counts as a lease that ran out: it is queued again by the next sweep, whatever
-- else is in the queue.
local function unpause_job(job)
  if redis.call('HDEL', 'doivec:job:' .. job, 'paused_at') == 0 then return false end
  move_batches(job, 'doivec:parked:' .. job)
  if not is_copy(job) then
    for _, number in ipairs(redis.call('ZRANGE', 'doivec:waiting:' .. job, 0, -1)) do
      redis.call('ZADD', 'doivec:leases', 'NX', 0, job .. ':' .. number)
    end
  end
  return true
end

local function pause_job_if_failing(job, now, records, share)
  local key = 'doivec:job:' .. job
  local fields = redis.call('HMGET', key, 'dead', 'forgiven_dead', 'forgiven_records', 'settled_at')
  local dead = (fields[1] or 0) - (fields[2] or 0)
  local settled = settled_records(key) - (fields[3] or 0)
  if fields[4] or settled < records or dead < share * settled then return end
  pause_job(job, now, dead .. ' of the last ' .. settled .. ' records ended as dead letters')
end
