-- Take a lease that processes on any machine share.
-- ARGV: name, token, words, lease_ms. Returns nothing where it was taken, or {words, beats} of
-- the one that has it: who that is, and how often it renewed.
local key = 'doivec:lease:' .. ARGV[1]
local holder = redis.call('HGET', key, 'token')
if holder and holder ~= ARGV[2] then return redis.call('HMGET', key, 'words', 'beats') end
redis.call('HSET', key, 'token', ARGV[2], 'words', ARGV[3], 'beats', 0)
redis.call('PEXPIRE', key, ARGV[4])
return false
