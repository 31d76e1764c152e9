-- Blocks a unit; a longer block stays. ARGV: for how long.
-- The time in the value decides: the key outlives it by a second, since clocks may differ a little after a failover.
local last = math.max(now + tonumber(ARGV[4]), tonumber(redis.call('GET', KEYS[2]) or '0'))
redis.call('SET', KEYS[2], text(last), 'PX', text(math.ceil((last - now) / 1000) + 1000))
return usage(1)
