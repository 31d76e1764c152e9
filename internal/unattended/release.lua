-- Releases a slot. KEYS[4] marks it as released. ARGV: its id. Done is 1 if the slot existed.
-- A take that is executed later, or once more, takes no slot. Without memory there is no mark: after its first change, Redis would
-- let the script set it.
redis.pcall('SET', KEYS[4], '', 'PX', 60000)
return usage(redis.call('ZREM', KEYS[1], ARGV[4]))
