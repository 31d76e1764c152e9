-- Gives a lease to whoever asks, unless another has it, and answers who has it, the epoch, the time (µs) and what is
-- kept. KEYS: lease, epoch, list or none. ARGV: holder, for how long (ms). What is read is read first, and what is no
-- text is nothing: a script that fails must have done nothing.
local kept = redis.call('MGET', unpack(KEYS))
local holder = kept[1]
if not holder then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  holder = ARGV[1]
end
local clock = redis.call('TIME')
return {holder, kept[2] or '', clock[1] .. string.format('%06d', clock[2]), kept[3] or ''}
