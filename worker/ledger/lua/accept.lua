-- Take a batch into the ledger, once.
-- ARGV: job, number, records, body, how long its producer may be silent in ms, the DOIs of which an
-- earlier batch of the job has something, too, and of a repair the sequence that its records had,
-- else ''. Returns {verdict, batches outstanding}, the verdict being 'accepted', 'known' (there
-- already), 'closed' (the job was sealed without it), 'cancelled', or 'unknown' (no job).
local job, number = ARGV[1], ARGV[2]
local key = 'doivec:job:' .. job
local function answer(verdict)
  local list = is_copy(job) and 'doivec:backfill' or 'doivec:outstanding'
  return {verdict, redis.call('ZCARD', list)}
end
if redis.call('EXISTS', key) == 0 then return answer('unknown') end
if redis.call('HGET', key, 'cancelled_at') then return answer('cancelled') end
local is_known = redis.call('GETBIT', 'doivec:accepted:' .. job, number) == 1
if redis.call('HGET', key, 'sealed_at') then
  -- Behind what was produced are replays, under numbers of their own.
  local produced = tonumber(redis.call('HGET', key, 'produced') or '0')
  return answer(is_known and tonumber(number) < produced and 'known' or 'closed')
end
redis.call('ZADD', 'doivec:producing', 'XX', microseconds() / 1000 + ARGV[5], job)
if is_known then return answer('known') end
local again = ARGV[6]
if tonumber(number) < tonumber(redis.call('HGET', key, 'next_number') or '0') then
  again = '*' -- Redis had lost it: batches that came behind it have lower sequences now
end
local sequence = ARGV[7]
if sequence == '' then
  sequence = next_sequence()
else
  again = '*' -- its records have been overtaken by batches of any sequence
end
enter_batch(job, number, sequence, ARGV[4], ARGV[3])
if again ~= '' then redis.call('HSET', 'doivec:batch:' .. job .. ':' .. number, 'again', again) end
redis.call('HINCRBY', key, 'accepted', ARGV[3])
return answer('accepted')
