-- Adds requests to an account's ready list; one that is there already, or is being sent, is left alone,
-- so pushing the same request again is harmless.
-- KEYS: 1 ready (list of ids), 2 bodies (hash id -> body), 3 flight (zset id -> end of its claim, ms)
-- ARGV: 1 how long the two are kept after this (ms), then id, body, id, body, ...
-- Returns the number of requests added. The list decides what is ready: it may be lost while the bodies are not.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local added = 0
for i = 2, #ARGV, 2 do
  local claimed_until = redis.call('ZSCORE', KEYS[3], ARGV[i])
  local is_claimed = claimed_until and tonumber(claimed_until) > now
  if not is_claimed and not redis.call('LPOS', KEYS[1], ARGV[i]) then
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
    redis.call('RPUSH', KEYS[1], ARGV[i])
    added = added + 1
  end
end
for i = 1, 2 do redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
return added
