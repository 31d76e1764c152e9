-- Closes a unit for a time, in microseconds on Redis's own clock; a closure that lasts longer stays.
-- KEYS: the unit's closure. ARGV: for how long. Returns how long the unit stays closed.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local last = math.max(now + tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[1]) or '0'))
redis.call('SET', KEYS[1], string.format('%.0f', last), 'PX', string.format('%.0f', math.max(math.ceil((last - now) / 1000), 1)))
return last - now
