-- Stores results of a run, unless the aggregation was deleted or belongs to another run. Its expiry stays.
-- KEYS: the aggregation, as in replay.lua. ARGV: the run's id, the score of its beginning; scores and values.
local beginning = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], ARGV[2])[1]
if beginning and string.sub(beginning, 1, #ARGV[1]) == ARGV[1] then
  redis.call('ZADD', KEYS[1], 'XX', 0, '-') -- changes nothing, and fails without memory
  for i = 3, #ARGV, 2 do
    redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[i], ARGV[i])
    redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
return 0
