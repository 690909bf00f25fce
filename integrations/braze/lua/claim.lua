-- Takes the oldest ready requests of an account, unless too many of its requests are in flight.
-- KEYS: 1 ready (list of ids), 2 bodies (hash id -> body), 3 flight (zset id -> end of its claim, ms)
-- ARGV: 1 most requests in flight, 2 how long a claim lasts (ms), 3 how many are wanted, 4 how long any may last (ms)
-- Returns {id, body, id, body, ...}. Time is this server's own.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
-- Claims that end too late were made before the clock went back: they would hold their places for too long.
redis.call('ZREMRANGEBYSCORE', KEYS[3], '(' .. string.format('%.0f', now + tonumber(ARGV[4])), '+inf')
local room = math.min(tonumber(ARGV[1]) - redis.call('ZCARD', KEYS[3]), tonumber(ARGV[3]))
if room < 1 then return {} end
local ids = redis.call('LPOP', KEYS[1], room)
local taken = {}
for _, id in ipairs(ids or {}) do
  table.insert(taken, id)
  table.insert(taken, redis.call('HGET', KEYS[2], id) or '')
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZADD', KEYS[3], string.format('%.0f', now + tonumber(ARGV[2])), id)
end
return taken
