-- Hands out the next free slots of a rate limit: slots are spaced evenly, so no window ever holds more than its share,
-- and nothing is charged when the wait would be too long. Where nothing is known of earlier slots, the last one may
-- have been a moment ago: the first is a spacing away.
-- KEYS: 1 next free slot (us, this server's clock), 2 the clock hour being counted (hash: hour, used, server)
-- ARGV: 1 spacing of slots (us), 2 longest acceptable wait for a slot (us), 3 hourly cap (0: none),
--       4 what was used of this hour, believed only where nothing is counted yet (-1: not known), 5 slots wanted
-- Returns {granted, us}: {n, wait for the first of n slots}, {0, time until a slot could be had}, or {-1, 0} where
-- nothing is counted, or another run of the server did, and ARGV 4 is needed: a restart or a failover may have lost
-- the last second's count. A slot is charged to the hour it lies in, which may be the next one. Who has no cap is
-- counted as well, once somebody who shares the budget has one.
local HOUR, KEPT_MS = 3600000000, 3600000
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local spacing, ahead, cap, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
local free = tonumber(redis.call('GET', KEYS[1]))
local counted = redis.call('HMGET', KEYS[2], 'hour', 'used', 'server')
local is_counted, hour, used = counted[1] ~= false, tonumber(counted[1] or 0), tonumber(counted[2] or 0)

local function move_to(next_free)
  redis.call('SET', KEYS[1], string.format('%.0f', next_free), 'PX', math.ceil((next_free - now) / 1000) + KEPT_MS)
end

local function server()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
end

local function count()
  redis.call('HSET', KEYS[2], 'hour', string.format('%.0f', hour), 'used', string.format('%.0f', used))
  redis.call('EXPIRE', KEYS[2], 7200)
end

if not free then
  free = now + spacing
  move_to(free)
end
if cap > 0 and not (is_counted and counted[3] == server()) then
  if tonumber(ARGV[4]) < 0 then return {-1, 0} end
  is_counted, hour, used = true, math.floor(now / HOUR), tonumber(ARGV[4])
  count()
  redis.call('HSET', KEYS[2], 'server', server())
end

local first = math.max(now, free)
local slot, granted, wait = first, 0, first - now
while granted < wanted do
  if is_counted and math.floor(slot / HOUR) > hour then hour, used = math.floor(slot / HOUR), 0 end
  if cap > 0 and used >= cap then
    wait = (hour + 1) * HOUR - now
    break
  end
  if slot - now > ahead then break end
  granted, used, slot = granted + 1, used + 1, slot + spacing
end
if granted == 0 then return {0, wait} end
move_to(slot)
if is_counted then count() end
return {granted, first - now}
