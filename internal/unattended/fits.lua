-- Returns the usage, and when enough slots are free (0: they are, or they exceed the limit). ARGV: how many are needed.
local needed = tonumber(ARGV[4])
local used, blocked_until = read()
local leaving, until_free = used + needed - limit, 0
if needed <= limit and leaving > 0 then
  local slot = redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf', 'WITHSCORES', 'LIMIT', leaving - 1, 1)
  until_free = tonumber(slot[2]) + window
end
if needed <= limit and blocked_until > now then until_free = math.max(until_free, blocked_until) end
local all = usage(1)
all[6] = until_free
return all
