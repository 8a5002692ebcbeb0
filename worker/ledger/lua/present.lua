-- Keep what a worker says of itself. ARGV: worker, its words or '' where it ends, ttl_ms.
local now = math.floor(microseconds() / 1000)
local key = 'doivec:worker:' .. ARGV[1]
redis.call('ZREMRANGEBYSCORE', 'doivec:workers', '-inf', now)
if ARGV[2] == '' then
  redis.call('DEL', key)
  redis.call('ZREM', 'doivec:workers', ARGV[1])
  return
end
redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', 'doivec:workers', now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', 'doivec:workers', ARGV[3])
