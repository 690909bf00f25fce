-- Takes the oldest ready request of an account, unless too many of its requests are in flight.
-- KEYS: 1 ready (list of ids), 2 bodies (hash id -> body), 3 flight (zset id -> end of its claim, ms)
-- ARGV: 1 most requests in flight, 2 how long a claim lasts (ms)
-- Returns {id, body}, or {} where there is nothing to take. Time is this server's own.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[1]) then return {} end
local id = redis.call('LPOP', KEYS[1])
if not id then return {} end
local body = redis.call('HGET', KEYS[2], id) or ''
redis.call('HDEL', KEYS[2], id)
redis.call('ZADD', KEYS[3], string.format('%.0f', now + tonumber(ARGV[2])), id)
return {id, body}
