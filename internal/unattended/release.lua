-- Releases a slot. ARGV: its id. Done is 1 if the slot existed.
return usage(redis.call('ZREM', KEYS[1], ARGV[4]))
