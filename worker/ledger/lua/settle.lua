-- Settle a batch, once, by the worker that holds it.
-- ARGV: job, number, token, epoch, route, retention_s, pause_records, pause_share, a count for
-- each state of STATES, how many DOIs the candidate could not take, these, then a DOI and a letter
-- for each dead record. Returns 'settled', 'lost' (another worker has it), 'deleted' (tombstones
-- are newer), or 'rerouted' (the collections to be written have changed since the claim).
local COPY_RETENTION_S = 3600 -- long enough for a settling to be repeated
local STATES = {'stored', 'unchanged', 'superseded', 'dead', 'cancelled'}
local job, number, token = ARGV[1], ARGV[2], ARGV[3]
local member, key = job .. ':' .. number, 'doivec:job:' .. job
local batch = 'doivec:batch:' .. member
if redis.call('HGET', batch, 'settled_by') == token then return 'settled' end
if redis.call('HGET', batch, 'token') ~= token
  or redis.call('GETBIT', 'doivec:settled:' .. job, number) == 1 then
  return 'lost'
end
if (redis.call('GET', 'doivec:epoch') or '0') ~= ARGV[4] then return 'deleted' end
local copies = is_copy(job)
if not copies and route_number() ~= ARGV[5] then return 'rerouted' end
for index, state in ipairs(STATES) do
  redis.call('HINCRBY', key, state, ARGV[8 + index])
end
local first = 10 + #STATES + ARGV[9 + #STATES]
for index = 10 + #STATES, first - 1 do
  redis.call('SADD', 'doivec:untaken', ARGV[index])
end
for index = first, #ARGV, 2 do
  -- A line a letter: other batches of the job may have something of the same DOI.
  local there = redis.call('HGET', 'doivec:dead:' .. job, ARGV[index])
  redis.call('HSET', 'doivec:dead:' .. job, ARGV[index],
    there and there .. '\n' .. ARGV[index + 1] or ARGV[index + 1])
  if not copies then redis.call('SADD', 'doivec:dead', job) end
end
local now = string.format('%.0f', microseconds())
redis.call('HSET', batch, 'settled_by', token)
redis.call('HSET', key, 'moved_at', now)
finish_batch(job, number, copies and COPY_RETENTION_S or ARGV[6])
if tonumber(redis.call('HGET', key, 'refusals') or '0') > 0 then
  redis.call('HSET', key, 'refusals', 0)
  -- What was in the way is over; a paused job keeps the reason, but for a backfill: it goes on.
  if not redis.call('HGET', key, 'paused_at') or (copies and unpause_job(job)) then
    redis.call('HSET', key, 'note', '')
  end
end
settle_job_if_done(job, now, ARGV[6])
if not copies then pause_job_if_failing(job, now, tonumber(ARGV[7]), tonumber(ARGV[8])) end
return 'settled'
