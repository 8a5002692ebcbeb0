-- How many batches in hand are written by an older route than the present one.
-- A lease that ran out counts for nothing: its batch runs again, by the present route.
local now = math.floor(microseconds() / 1000)
local count, present = 0, route_number()
for _, member in ipairs(redis.call('ZRANGE', 'doivec:leases', now, '+inf', 'BYSCORE')) do
  local route = redis.call('HGET', 'doivec:batch:' .. member, 'route')
  if route and route ~= present and not is_copy(job_of(member)) then
    count = count + 1
  end
end
return count
