-- Moves the next free slot to at least this far from now: Braze has asked us to wait.
-- KEYS: 1 next free slot, as in slot.lua; afterwards without a spacing: a changed limit must not shorten the wait
-- ARGV: 1 how long (us)
-- Returns 1.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local free, reckoned = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) ?(%d*) ?%d*$')
free, reckoned = tonumber(free) or 0, tonumber(reckoned) or now
local left = free - math.max(reckoned, now) -- if the clock went back, the time left stays the same
free = now + math.max(tonumber(ARGV[1]), left)
local kept = math.ceil((free - now) / 1000) + 3600000
redis.call('SET', KEYS[1], string.format('%.0f %.0f', free, now), 'PX', kept)
return 1
