-- Take a batch into the ledger, once.
-- ARGV: job, number, records, body. Returns {verdict, batches outstanding}, the verdict being
-- 'accepted', 'known' (there already, or the job is sealed), 'cancelled', or 'unknown' (no job).
local job, number = ARGV[1], ARGV[2]
local key = 'doivec:job:' .. job
local function answer(verdict) return {verdict, redis.call('ZCARD', waiting(job))} end
if redis.call('EXISTS', key) == 0 then return answer('unknown') end
if redis.call('HGET', key, 'cancelled_at') then return answer('cancelled') end
if redis.call('HGET', key, 'sealed_at') then return answer('known') end
if redis.call('SETBIT', 'doivec:accepted:' .. job, number, 1) == 1 then return answer('known') end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('GET', 'doivec:sequence') or '0')
local sequence = string.format('%.0f', math.max(now, last + 1))
redis.call('SET', 'doivec:sequence', sequence)
redis.call('HSET', 'doivec:batch:' .. job .. ':' .. number, 'body', ARGV[4], 'records', ARGV[3],
  'sequence', sequence, 'queued_at', string.format('%.0f', now / 1000))
redis.call('ZADD', waiting(job), sequence, job .. ':' .. number)
redis.call('HINCRBY', key, 'accepted', ARGV[3])
redis.call('HINCRBY', key, 'batches', 1)
return answer('accepted')
