-- What waits, all of it at one moment. ARGV: names of queues. Returns {batches that bring records,
-- of backfills, of paused jobs; when the oldest of the first was accepted, in microseconds, or 0;
-- the time now; dead letters; then the length of each queue}.
local oldest = redis.call('ZRANGE', 'doivec:outstanding', 0, 0, 'WITHSCORES')
local dead, parked = 0, 0
for _, job in ipairs(redis.call('SMEMBERS', 'doivec:dead')) do
  dead = dead + redis.call('HLEN', 'doivec:dead:' .. job)
end
for _, job in ipairs(redis.call('ZRANGE', 'doivec:oldest', 0, -1)) do
  parked = parked + redis.call('ZCARD', 'doivec:parked:' .. job)
end
local found = {redis.call('ZCARD', 'doivec:outstanding'), redis.call('ZCARD', 'doivec:backfill'),
  parked, oldest[2] or '0', string.format('%.0f', microseconds()), dead}
for _, queue in ipairs(ARGV) do table.insert(found, redis.call('LLEN', queue)) end
return found
