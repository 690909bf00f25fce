-- Hands out the next free slot of a rate limit: slots are spaced evenly, so no window ever holds more than its share,
-- and nothing is charged when the wait would be too long.
-- KEYS: 1 next free slot (us, this server's clock), 2 counter of the running clock hour
-- ARGV: 1 spacing of slots (us), 2 longest acceptable wait (us), 3 hourly cap (0: none)
-- Returns {verdict, us}: {'go', wait}, {'wait', time until a slot could be had}, or {'seed', 0} where the hour's
-- counter is missing and must be set first.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local cap = tonumber(ARGV[3])
if cap > 0 then
  local used = redis.call('GET', KEYS[2])
  if not used then return {'seed', 0} end
  if tonumber(used) >= cap then return {'wait', (3600 - clock[1] % 3600) * 1000000} end
end
local slot = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
if slot - now > tonumber(ARGV[2]) then return {'wait', slot - now} end
local next_slot = slot + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', next_slot), 'PX', math.ceil((next_slot - now) / 1000) + 1000)
if cap > 0 then redis.call('INCR', KEYS[2]) end
return {'go', slot - now}
