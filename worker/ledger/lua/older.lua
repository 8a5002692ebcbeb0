-- Whether older records than those of a batch may still be written, all of it at one moment.
-- ARGV: job, sequence, DOIs. Returns {others, own, DOIs of which there are dead letters, which may
-- be replayed}; `others`, `own`: a batch of another job, or of this one, is older and not settled.
local older = redis.call('ZCOUNT', 'doivec:oldest', '-inf', '(' .. ARGV[2])
local own = tonumber(redis.call('ZSCORE', 'doivec:oldest', ARGV[1]))
local is_own = own and own < tonumber(ARGV[2])
local found = {older > (is_own and 1 or 0) and 1 or 0, is_own and 1 or 0}
local sought = {}
for index = 3, #ARGV do sought[ARGV[index]] = true end
for _, job in ipairs(redis.call('SMEMBERS', 'doivec:dead')) do
  local dead = 'doivec:dead:' .. job
  if redis.call('HLEN', dead) < #ARGV then
    for _, doi in ipairs(redis.call('HKEYS', dead)) do
      if sought[doi] then table.insert(found, doi) end
    end
  else
    for index = 3, #ARGV do
      if redis.call('HEXISTS', dead, ARGV[index]) == 1 then table.insert(found, ARGV[index]) end
    end
  end
end
return found
