-- Raises a counter to a value; one that is there already, or beyond it, is left alone. What is no counter is replaced.
-- KEYS: 1 counter
-- ARGV: 1 value
-- Returns 1.
local counted = redis.pcall('GET', KEYS[1])
if type(counted) ~= 'string' or #counted > 15 or not string.match(counted, '^[0-9]+$') then counted = '0' end
if tonumber(counted) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
