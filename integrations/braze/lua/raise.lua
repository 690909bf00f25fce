-- Raises a counter to a value; one that is there already, or beyond it, is left alone.
-- KEYS: 1 counter
-- ARGV: 1 value
-- Returns 1.
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
