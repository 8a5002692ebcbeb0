-- Seal a job whose batches 0 to N-1 are all there; settle it if they have all settled. Of a job
-- that was cancelled meanwhile only what was read is noted.
-- ARGV: job, N, repeated, invalid, without a DOI, what is told of its sources as JSON, retention_s.
-- Returns how many of its batches are there, N where
-- it is sealed already, or -1 where there is no job.
local key = 'doivec:job:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return -1 end
local function note_read()
  local accepted = redis.call('HGET', key, 'accepted') or '0'
  redis.call('HSET', key, 'read', accepted + ARGV[3] + ARGV[4] + ARGV[5], 'repeated', ARGV[3],
    'invalid', ARGV[4], 'without_doi', ARGV[5], 'reading', ARGV[6])
end
if redis.call('HGET', key, 'sealed_at') then
  if redis.call('HGET', key, 'cancelled_at') then note_read() end
  if redis.call('HGET', key, 'abandoned_at') and redis.call('HGET', key, 'produced') == ARGV[2] then
    note_read() -- its producer was only late
    redis.call('HSET', key, 'note', '')
  end
  return tonumber(ARGV[2])
end
local there = redis.call('BITCOUNT', 'doivec:accepted:' .. ARGV[1])
if there ~= tonumber(ARGV[2]) then return there end
local now = string.format('%.0f', microseconds())
note_read()
redis.call('HSET', key, 'sealed_at', now, 'produced', ARGV[2])
redis.call('ZREM', 'doivec:producing', ARGV[1])
settle_job_if_done(ARGV[1], now, ARGV[7])
return there
