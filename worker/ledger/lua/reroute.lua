-- Make a collection the candidate that is written besides the live one, or none.
-- What the last candidate could not take is kept until there is another one.
-- ARGV: lease, token, candidate or ''. Returns 1, or 0 where the token doesn't hold the lease.
if redis.call('HGET', 'doivec:lease:' .. ARGV[1], 'token') ~= ARGV[2] then return 0 end
local route = redis.call('GET', 'doivec:route') or '0 '
local number, candidate = string.match(route, '^(%d+) (.*)$')
if candidate ~= ARGV[3] then
  number = string.format('%.0f', math.max(microseconds(), tonumber(number) + 1))
  redis.call('SET', 'doivec:route', number .. ' ' .. ARGV[3])
  if ARGV[3] ~= '' then redis.call('DEL', 'doivec:untaken') end
end
return 1
