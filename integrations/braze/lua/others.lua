-- Tells for how long another account is expected to be at work.
-- KEYS: 1 accounts at work (zset account id -> until when, ms by this server's clock)
-- ARGV: 1 the account that asks
-- Returns milliseconds, 0 if there is no other.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local latest = redis.call('ZREVRANGE', KEYS[1], 0, 1, 'WITHSCORES')
for i = 1, #latest, 2 do
  if latest[i] ~= ARGV[1] then
    return math.max(0, tonumber(latest[i + 1]) - now)
  end
end
return 0
