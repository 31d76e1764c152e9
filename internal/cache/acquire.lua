-- Gives a lease to whoever asks, unless another has it, and answers who has it, the epoch and what is kept. KEYS:
-- lease, epoch, list. ARGV: holder, for how long (ms).
redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]) or '', redis.call('GET', KEYS[3]) or ''}
