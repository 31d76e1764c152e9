-- Returns a stored aggregation, and stores the beginning of a run if there is none. KEYS: the aggregation, a sorted set, whose
-- scores are the indexes of the sources, below 0 for what is not a result: a hash would need further permissions in Redis.
-- ARGV, if a run may begin: its id and sealed beginning, their score, for how long the aggregation is stored (ms).
-- Returns the time (µs), then values and scores one after the other, by score; none if there is no aggregation.
local clock = redis.call('TIME')
local stored = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'WITHSCORES')
if #stored == 0 and ARGV[1] then
  redis.call('ZADD', KEYS[1], 'XX', 0, '-') -- the first two change nothing, and fail if the others would: see acquire.lua
  redis.call('PEXPIRE', KEYS[1], 1)
  redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  stored = {ARGV[1], ARGV[2]}
end
table.insert(stored, 1, clock[1] .. string.format('%06d', clock[2]))
return stored
