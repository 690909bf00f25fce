-- Hands out the next free slot of a rate limit: slots are spaced evenly, so no window ever holds more than its share,
-- and nothing is charged when the wait would be too long. Where nothing is known of earlier slots, the last one may
-- have been a moment ago: the first is a spacing away.
-- KEYS: 1 next free slot (us, this server's clock), 2 the clock hour being counted (hash: hour, used, server)
-- ARGV: 1 spacing of slots (us), 2 longest acceptable wait (us), 3 hourly cap (0: none),
--       4 what was used of this hour, believed only where nothing is counted yet (-1: not known)
-- Returns {verdict, us}: {'go', wait}, {'wait', time until a slot could be had}, or {'seed', 0} where nothing is
-- counted, or another run of the server did, and ARGV 4 is needed: a restart or a failover may have lost the last
-- second's count. A slot is charged to the hour it lies in, which may be the next one. Who has no cap is counted as
-- well, once somebody who shares the budget has one.
local HOUR, KEPT_MS = 3600000000, 3600000
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local spacing, free = tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[1]))

local function move_to(next_free)
  redis.call('SET', KEYS[1], string.format('%.0f', next_free), 'PX', math.ceil((next_free - now) / 1000) + KEPT_MS)
end

if not free then
  free = now + spacing
  move_to(free)
end
local slot = math.max(now, free)
local cap, hour, used = tonumber(ARGV[3]), math.floor(slot / HOUR), 0
local counted = redis.call('HMGET', KEYS[2], 'hour', 'used', 'server')
local is_counted = counted[1] ~= false

local function server()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
end

local function count(in_hour, requests)
  redis.call('HSET', KEYS[2], 'hour', string.format('%.0f', in_hour), 'used', string.format('%.0f', requests))
  redis.call('EXPIRE', KEYS[2], 7200)
end

if cap > 0 and not (is_counted and counted[3] == server()) then
  if tonumber(ARGV[4]) < 0 then return {'seed', 0} end
  counted, is_counted = {math.floor(now / HOUR), ARGV[4]}, true
  count(counted[1], counted[2])
  redis.call('HSET', KEYS[2], 'server', server())
end
if is_counted and tonumber(counted[1]) >= hour then hour, used = tonumber(counted[1]), tonumber(counted[2]) end
if cap > 0 and used >= cap then return {'wait', (hour + 1) * HOUR - now} end
if slot - now > tonumber(ARGV[2]) then return {'wait', slot - now} end
move_to(slot + spacing)
if is_counted then count(hour, used + 1) end
return {'go', slot - now}
