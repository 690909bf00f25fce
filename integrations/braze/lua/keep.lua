-- Prolongs a claim: its request is about to be started.
-- KEYS: 1 flight (zset id -> end of its claim, ms)
-- ARGV: 1 id, 2 how long from now (ms)
-- Returns 1.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
return 1
