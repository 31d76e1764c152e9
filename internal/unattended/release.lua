-- Releases a slot. ARGV: its id. Done is 1 if it was there.
return usage(redis.call('ZREM', KEYS[1], ARGV[4]))
