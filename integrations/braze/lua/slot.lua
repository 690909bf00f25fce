-- Hands out the next free slots of a rate limit: slots are spaced evenly, so no window ever holds more than its share,
-- and nothing is charged if the wait would be too long. If nothing is known of earlier slots, the last one may have
-- been a moment ago, so the first is one spacing away.
-- KEYS: 1 next free slot, the moment it was reckoned at, and the spacing it has from the last one ("<us> <us> <us>",
--       by this server's clock; no spacing where Braze has asked us to wait until then),
--       2 the clock hour being counted (hash: hour, used, server, and the latest hour ever counted)
-- ARGV: 1 spacing of slots (us), 2 longest acceptable wait for a slot (us), 3 hourly cap (0: none),
--       4 what was used of this hour, believed only if nothing is counted yet (-1: not known), 5 slots wanted,
--       6 how far ahead of the clock the hour being counted may begin (us): clocks are set back a little at times
-- Returns {granted, us}: {n, wait for the first of n slots}, {0, time until a slot could be had}, or {-1, 0} if ARGV 4
-- is needed: nothing is counted, or an earlier run of the server counted (a restart or a failover may have lost the
-- last second's count), or the clock went back, so that an hour comes again. A slot is charged to the hour it lies in,
-- which may be the next one. Callers without a cap are counted as well, once somebody who shares the budget has one.
local HOUR, KEPT_MS = 3600000000, 3600000
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local spacing, ahead, cap = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local told, wanted = tonumber(ARGV[4]), tonumber(ARGV[5])
local free, reckoned, spaced = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) ?(%d*) ?(%d*)$')
local counted = redis.call('HMGET', KEYS[2], 'hour', 'used', 'server', 'latest')
local hour, used = tonumber(counted[1]), tonumber(counted[2])
local is_counted = hour ~= nil and used ~= nil
hour, used = hour or 0, used or 0
local latest = tonumber(counted[4]) or hour

local function move_to(next_free)
  local kept = math.ceil((next_free - now) / 1000) + KEPT_MS
  redis.call('SET', KEYS[1], string.format('%.0f %.0f %.0f', next_free, now, spacing), 'PX', kept)
end

local function server() -- a user who may not ask gets no answer: restarts are then not noticed
  local told = redis.pcall('INFO', 'server')
  return type(told) == 'string' and string.match(told, 'run_id:(%w+)') or ''
end

local function count()
  latest = math.max(latest, hour)
  local fields = {'hour', string.format('%.0f', hour), 'used', string.format('%.0f', used)}
  redis.call('HSET', KEYS[2], 'latest', string.format('%.0f', latest), unpack(fields))
  redis.call('EXPIRE', KEYS[2], 7200)
end

free, reckoned, spaced = tonumber(free), tonumber(reckoned), tonumber(spaced)
if spaced and spaced ~= spacing then -- the limit has changed since the last slot, which the next one counts from
  free = free - spaced + spacing
  move_to(free)
end
if not free then
  free = now + spacing
  move_to(free)
elseif reckoned and reckoned > now then -- the clock went back: the time left to wait stays the same
  free = now + math.max(free - reckoned, 0)
  move_to(free)
end

local went_back = is_counted and hour * HOUR > now + tonumber(ARGV[6])
if cap > 0 and (went_back or not is_counted or counted[3] ~= server()) then
  if told < 0 then return {-1, 0} end
  is_counted, hour, used = true, math.floor(now / HOUR), told
  count()
  redis.call('HSET', KEYS[2], 'server', server())
elseif went_back then
  is_counted = false
  redis.call('DEL', KEYS[2])
end

local first = math.max(now, free)
local slot, granted, wait = first, 0, first - now
while granted < wanted do
  local its_hour = math.floor(slot / HOUR)
  if is_counted and its_hour > hour then
    local again = cap > 0 and its_hour <= latest
    if again and granted > 0 then break end
    if again and told < 0 then return {-1, 0} end
    hour, used = its_hour, again and told or 0
    if again then count() end
  end
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
