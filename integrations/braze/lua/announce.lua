-- Notes that accounts are about to be relayed, for a moment.
-- KEYS: 1 accounts at work (zset account id -> until when, ms by this server's clock)
-- ARGV: 1 how long from now (ms), then account ids
-- Returns 1.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[1])), ARGV[i])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
