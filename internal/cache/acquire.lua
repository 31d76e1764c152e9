-- Gives a lease to whoever asks, unless another has it, and answers who has it, the epoch, the time (µs) and what is
-- kept. KEYS: lease, epoch, list or none. ARGV: holder, for how long (ms).
redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
local clock = redis.call('TIME')
return {
  redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]) or '', clock[1] .. string.format('%06d', clock[2]),
  KEYS[3] and redis.call('GET', KEYS[3]) or ''
}
