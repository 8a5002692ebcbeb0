-- How many batches in hand are written by an older route than the present one.
-- A lease that ran out counts for nothing: its batch runs again, by the present route.
local time = redis.call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
local count, present = 0, route_number()
for _, member in ipairs(redis.call('ZRANGE', 'doivec:leases', now, '+inf', 'BYSCORE')) do
  local route = redis.call('HGET', 'doivec:batch:' .. member, 'route')
  if route and route ~= present and waiting(member) == 'doivec:outstanding' then
    count = count + 1
  end
end
return count
