-- Adds requests to an account's ready list; one that is there already, or is being sent, is left alone,
-- so pushing the same request again is harmless.
-- KEYS: 1 ready (list of ids), 2 bodies (hash id -> body), 3 flight (zset id -> end of its claim, ms)
-- ARGV: id, body, id, body, ...
-- Returns the number of requests added.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local added = 0
for i = 1, #ARGV, 2 do
  local claimed_until = redis.call('ZSCORE', KEYS[3], ARGV[i])
  if not (claimed_until and tonumber(claimed_until) > now) then
    if redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 1]) == 1 then
      redis.call('RPUSH', KEYS[1], ARGV[i])
      added = added + 1
    end
  end
end
return added
