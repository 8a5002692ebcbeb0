-- Seal a job whose batches 0 to N-1 are all there; settle it if they have all settled.
-- ARGV: job, N, read, repeated, invalid, retention_s. Returns how many of its batches are there.
local key = 'doivec:job:' .. ARGV[1]
local there = redis.call('BITCOUNT', 'doivec:accepted:' .. ARGV[1])
if redis.call('HGET', key, 'sealed_at') or there ~= tonumber(ARGV[2]) then return there end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('HSET', key, 'sealed_at', now, 'read', ARGV[3], 'repeated', ARGV[4], 'invalid', ARGV[5])
settle_job_if_done(ARGV[1], now, ARGV[6])
return there
