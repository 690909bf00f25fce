-- Hands out the next free slots of a rate limit: slots are spaced evenly, so no window ever holds more than its share,
-- and nothing is charged when the wait would be too long. Where nothing is known of earlier slots, the last one may
-- have been a moment ago: the first is a spacing away.
-- KEYS: 1 next free slot (us, this server's clock), 2 the clock hour being counted (hash: hour, used)
-- ARGV: 1 spacing of slots (us), 2 longest acceptable wait for a slot (us), 3 hourly cap (0: none),
--       4 what was used of this hour, believed only where nothing is counted yet (-1: not known), 5 slots wanted
-- Returns {granted, us}: {n, wait for the first of n slots}, {0, time until a slot could be had}, or {-1, 0} where
-- nothing is counted and ARGV 4 is needed. A slot is charged to the hour it lies in, which may be the next one.
local HOUR, KEPT_MS = 3600000000, 3600000
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local spacing, ahead, cap, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
local free = tonumber(redis.call('GET', KEYS[1]))

local function move_to(next_free)
  redis.call('SET', KEYS[1], string.format('%.0f', next_free), 'PX', math.ceil((next_free - now) / 1000) + KEPT_MS)
end

local function count(in_hour, requests)
  redis.call('HSET', KEYS[2], 'hour', string.format('%.0f', in_hour), 'used', string.format('%.0f', requests))
  redis.call('EXPIRE', KEYS[2], 7200)
end

if not free then
  free = now + spacing
  move_to(free)
end
local counted_hour, used
if cap > 0 then
  local counted = redis.call('HMGET', KEYS[2], 'hour', 'used')
  if counted[1] then
    counted_hour, used = tonumber(counted[1]), tonumber(counted[2])
  elseif tonumber(ARGV[4]) < 0 then
    return {-1, 0}
  else
    counted_hour, used = math.floor(now / HOUR), tonumber(ARGV[4])
    count(counted_hour, used)
  end
end

local first = math.max(now, free)
local granted, slot, wait = 0, first, first - now
while granted < wanted and slot - now <= ahead do
  if cap > 0 then
    local hour = math.floor(slot / HOUR)
    if hour > counted_hour then counted_hour, used = hour, 0 end
    if used >= cap then
      wait = (counted_hour + 1) * HOUR - now
      break
    end
    used = used + 1
  end
  granted, slot = granted + 1, slot + spacing
end
if granted == 0 then
  if cap > 0 and counted_hour >= math.floor(first / HOUR) and used >= cap then wait = (counted_hour + 1) * HOUR - now end
  return {0, wait}
end
move_to(slot)
if cap > 0 then count(counted_hour, used) end
return {granted, first - now}
