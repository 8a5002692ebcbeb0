-- Leave a tombstone for each id: what has a lower sequence must not be stored.
-- ARGV: ids. Returns the tombstones' sequence.
local sequence = next_sequence()
redis.call('SET', 'doivec:epoch', sequence)
for _, id in ipairs(ARGV) do redis.call('ZADD', 'doivec:tombstones', sequence, id) end
return sequence
