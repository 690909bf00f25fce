-- Moves the next free slot to at least this far from now: Braze has asked us to wait.
-- KEYS: 1 next free slot (us, this server's clock)
-- ARGV: 1 how long (us)
-- Returns 1.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local free = math.max(now + tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[1]) or '0'))
redis.call('SET', KEYS[1], string.format('%.0f', free), 'PX', math.ceil((free - now) / 1000) + 3600000)
return 1
