-- Closes a unit for a time, in microseconds on Redis's own clock; a closure that lasts longer stays.
-- KEYS: the unit's closure. ARGV: for how long. Returns how long the unit stays closed.
-- The value decides until when: the key outlives it by a second, since clocks may differ by some of that after a failover.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local last = math.max(now + tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[1]) or '0'))
redis.call('SET', KEYS[1], string.format('%.0f', last), 'PX', string.format('%.0f', math.ceil((last - now) / 1000) + 1000))
return last - now
