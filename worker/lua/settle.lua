-- Settle a batch, once, by the worker that holds it.
-- ARGV: job, number, token, epoch, retention_s, pause_records, pause_share, a count for each
-- state of STATES, then a DOI and a letter for each dead record.
-- Returns 'settled', 'lost' (another worker has it), or 'deleted' (tombstones are newer).
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
for index, state in ipairs(STATES) do
  redis.call('HINCRBY', key, state, ARGV[7 + index])
end
for index = 8 + #STATES, #ARGV, 2 do
  redis.call('HSET', 'doivec:dead:' .. job, ARGV[index], ARGV[index + 1])
  redis.call('SADD', 'doivec:dead', job)
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('HSET', batch, 'settled_by', token)
finish_batch(job, number, ARGV[5])
settle_job_if_done(job, now, ARGV[5])
pause_job_if_failing(job, now, tonumber(ARGV[6]), tonumber(ARGV[7]))
return 'settled'
