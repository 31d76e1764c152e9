-- Gives a lease to the caller, unless another has it, and registers its call. KEYS: lease, calls (the calls in progress,
-- each until when its result may arrive, in ms), list or none. ARGV: holder, for how long (ms), until when at the latest
-- its result may arrive (ms from now). Returns who has the lease, the time (µs) and the list.
-- Whatever a key holds that is not a text is nothing, and what may fail comes before the first change.
local list = KEYS[3] and redis.call('MGET', KEYS[3])[1] or ''
local holder = redis.call('MGET', KEYS[1])[1]
local clock = redis.call('TIME')
if not holder then
  local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
  local life = tonumber(ARGV[3])
  -- Changes nothing, and fails where the rest could: once a script has written, Redis lets it go on without memory.
  redis.call('ZADD', KEYS[2], 'XX', 0, '-')
  redis.call('PEXPIRE', KEYS[1], 1)
  local left = redis.call('PTTL', KEYS[2])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now)) -- calls whose gateways ended
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + life), ARGV[1])
  if left < life then
    redis.call('PEXPIRE', KEYS[2], life)
  end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  holder = ARGV[1]
end
return {holder, clock[1] .. string.format('%06d', clock[2]), list or ''}
