-- Releases a slot. KEYS[4] marks it as released. ARGV: its id. Done is 1 if the slot existed.
local removed = redis.call('ZREM', KEYS[1], ARGV[4])
if removed == 0 then
  redis.call('SET', KEYS[4], '', 'PX', 60000) -- a take that is executed later takes no slot
end
return usage(removed)
