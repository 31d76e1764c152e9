-- Releases a slot. KEYS[4] marks it as released. ARGV: its id. Done is 1 if the slot existed.
local removed = redis.call('ZREM', KEYS[1], ARGV[4])
redis.call('SET', KEYS[4], '', 'PX', 60000) -- a take that is executed later, or once more, takes no slot
return usage(removed)
