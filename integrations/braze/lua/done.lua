-- Notes that an account is no longer at work, unless it was announced a moment ago.
-- KEYS: 1 accounts at work (zset account id -> until when, ms by this server's clock)
-- ARGV: 1 account id, 2 for how much longer an announcement counts that is over now (ms)
-- Returns 1.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local until_when = redis.call('ZSCORE', KEYS[1], ARGV[1])
if until_when and tonumber(until_when) <= now + tonumber(ARGV[2]) then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return 1
