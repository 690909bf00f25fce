-- Makes claimed requests ready again, ahead of the others.
-- KEYS: 1 ready (list of ids), 2 bodies (hash id -> body), 3 flight (zset id -> end of its claim, ms)
-- ARGV: 1 how long the first two are kept after this (ms), then id, body, id, body, ...; the one to be taken first
--       comes last
-- Returns 1. A request that is no longer claimed is left out: it will be pushed again as missing.
for i = 2, #ARGV, 2 do
  if redis.call('ZREM', KEYS[3], ARGV[i]) == 1 then
    if ARGV[i + 1] ~= '' then redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
    redis.call('LPUSH', KEYS[1], ARGV[i])
  end
end
for i = 1, 2 do redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
return 1
