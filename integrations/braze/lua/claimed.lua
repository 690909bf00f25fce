-- Which of these requests are claimed, so that somebody may be sending them.
-- KEYS: 1 flight (zset id -> end of its claim, ms)
-- ARGV: 1 how long any claim may last (ms): one that ends later was made before the clock went back; then ids
-- Returns the ids.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local claimed = {}
for i = 2, #ARGV do
  local left = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]) or 0) - now
  if left > 0 and left <= tonumber(ARGV[1]) then table.insert(claimed, ARGV[i]) end
end
return claimed
