-- The oldest batch of a backfill that nobody holds and that isn't paused. ARGV: limit. Returns its
-- member, or nothing.
local now = math.floor(microseconds() / 1000)
for _, member in ipairs(redis.call('ZRANGE', 'doivec:backfill', 0, ARGV[1] - 1)) do
  local expiry = redis.call('ZSCORE', 'doivec:leases', member)
  if redis.call('EXISTS', 'doivec:batch:' .. member) == 0 then
    redis.call('ZREM', 'doivec:backfill', member) -- lost by Redis, which a promotion notices
  elseif not expiry or tonumber(expiry) <= now then
    local key = 'doivec:job:' .. job_of(member)
    if not redis.call('HGET', key, 'paused_at') then return member end
  end
end
return false
