-- Blocks a unit; a longer block stays. ARGV: for how long.
-- The time in the value decides. The key expires a second later, because clocks may differ slightly after a failover.
local last = math.max(now + tonumber(ARGV[4]), tonumber(redis.call('GET', KEYS[2]) or '0'))
redis.call('SET', KEYS[2], text(last), 'PX', text(math.ceil((last - now) / 1000) + 1000))
return usage(1)
