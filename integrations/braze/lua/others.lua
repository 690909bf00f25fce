-- Tells for how long another account is expected to be at work, and how many backlogs there are. Whoever asks is one.
-- KEYS: 1 accounts at work, 2 backlogs (zsets account id -> until when, ms by this server's clock)
-- ARGV: 1 the account that asks, 2 for how long it counts as a backlog (ms)
-- Returns milliseconds, 0 if there is no other; and the number of backlogs.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local backlogs = redis.call('ZCARD', KEYS[2])
local latest = redis.call('ZREVRANGE', KEYS[1], 0, 1, 'WITHSCORES')
for i = 1, #latest, 2 do
  if latest[i] ~= ARGV[1] then
    return { math.max(0, tonumber(latest[i + 1]) - now), backlogs }
  end
end
return { 0, backlogs }
