-- Which of these requests are neither ready nor being sent: what push.lua would add.
-- KEYS: 1 ready (list of ids), 2 flight (zset id -> end of its claim, ms)
-- ARGV: ids
-- Returns the ids.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local missing = {}
for _, id in ipairs(ARGV) do
  local claimed_until = redis.call('ZSCORE', KEYS[2], id)
  local is_claimed = claimed_until and tonumber(claimed_until) > now
  if not is_claimed and not redis.call('LPOS', KEYS[1], id) then table.insert(missing, id) end
end
return missing
