-- Prolongs claims: their requests are about to be started.
-- KEYS: 1 flight (zset id -> end of its claim, ms)
-- ARGV: 1 how long from now (ms), then ids
-- Returns 1.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[1])), ARGV[i])
end
return 1
