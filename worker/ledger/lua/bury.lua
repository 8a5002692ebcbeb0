-- Leave a tombstone for each id: what has a lower sequence must not be stored.
-- ARGV: ids. Returns the tombstones' sequence.
local time = redis.call('TIME')
local last = tonumber(redis.call('GET', 'doivec:sequence') or '0')
local sequence = string.format('%.0f', math.max(time[1] * 1000000 + time[2], last + 1))
redis.call('SET', 'doivec:sequence', sequence)
redis.call('SET', 'doivec:epoch', sequence)
for _, id in ipairs(ARGV) do redis.call('ZADD', 'doivec:tombstones', sequence, id) end
return sequence
