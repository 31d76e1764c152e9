-- Forgets a list, and begins a new epoch. KEYS: list, epoch. ARGV: the epoch, for how long it is known (ms).
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return redis.call('DEL', KEYS[1])
