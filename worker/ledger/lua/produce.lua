-- Say that a job's producer is alive. ARGV: job, how long it may be silent in ms.
redis.call('ZADD', 'doivec:producing', 'XX', microseconds() / 1000 + ARGV[2], ARGV[1])
