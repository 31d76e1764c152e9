-- Grants a lease, unless another holder has it, and registers the call. KEYS: lease, calls (calls in progress, each with the
-- latest time at which its result may be stored, in ms), list or none. ARGV: holder, TTL (ms), for how long the result may be
-- stored (ms from now). Returns the holder, the time (µs) and the list.
-- A key of another type counts as missing. Commands that may fail come before the first change.
local list = KEYS[3] and redis.call('MGET', KEYS[3])[1] or ''
local holder = redis.call('MGET', KEYS[1])[1]
local clock = redis.call('TIME')
if not holder then
  local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
  local life = tonumber(ARGV[3])
  -- Changes nothing, and fails if the rest would: after its first change, Redis lets a script continue without memory.
  redis.call('ZADD', KEYS[2], 'XX', 0, '-')
  redis.call('PEXPIRE', KEYS[1], 1)
  local left = redis.call('PTTL', KEYS[2])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now)) -- calls of gateways that ended
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + life), ARGV[1])
  if left < life then
    redis.call('PEXPIRE', KEYS[2], life)
  end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  holder = ARGV[1]
end
return {holder, clock[1] .. string.format('%06d', clock[2]), list or ''}
