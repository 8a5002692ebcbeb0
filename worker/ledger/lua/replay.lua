-- Queue dead letters of one sequence again, as a further batch of their job.
-- ARGV: job, sequence, records, body, then their DOIs. Returns the batch's number, -1 where one
-- of them is no longer dead, or -2 where the job is not sealed.
local job, key = ARGV[1], 'doivec:job:' .. ARGV[1]
if not redis.call('HGET', key, 'sealed_at') then return -2 end
local dead = 'doivec:dead:' .. job
local others = {} -- the letters of each DOI, without the one of this sequence
for index = 5, #ARGV do
  local rest, is_there = {}, false
  for letter in string.gmatch(redis.call('HGET', dead, ARGV[index]) or '', '[^\n]+') do
    if cjson.decode(letter).sequence == tonumber(ARGV[2]) then
      is_there = true
    else
      table.insert(rest, letter)
    end
  end
  if not is_there then return -1 end
  others[index] = table.concat(rest, '\n')
end
for index = 5, #ARGV do
  if others[index] == '' then
    redis.call('HDEL', dead, ARGV[index])
  else
    redis.call('HSET', dead, ARGV[index], others[index])
  end
end
if redis.call('EXISTS', dead) == 0 then redis.call('SREM', 'doivec:dead', job) end
local number = tonumber(redis.call('HGET', key, 'next_number') or '0')
enter_batch(job, number, ARGV[2], ARGV[4], ARGV[3])
-- Older letters of the same DOIs may be replayed, too, and be written after this.
redis.call('HSET', 'doivec:batch:' .. job .. ':' .. number, 'again',
  table.concat(ARGV, ' ', 5))
redis.call('HINCRBY', key, 'dead', -ARGV[3])
redis.call('HDEL', key, 'settled_at')
for _, name in ipairs({'job', 'accepted', 'settled', 'dead', 'rejects'}) do
  redis.call('PERSIST', 'doivec:' .. name .. ':' .. job)
end
return number
