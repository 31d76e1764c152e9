-- Releases slots. KEYS[4] and later mark them as released. ARGV: their ids. Done is how many of them existed.
-- A take that is executed later, or once more, takes none of them. Without memory there are no marks: after its first change, Redis
-- would let the script set them.
for i = 4, #KEYS do redis.pcall('SET', KEYS[i], '', 'PX', 60000) end
return usage(redis.call('ZREM', KEYS[1], unpack(ARGV, 4)))
