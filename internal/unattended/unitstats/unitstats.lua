-- Updates units of one ASPSP, and returns how many of its units are in each state. Times are in microseconds of Redis's clock.
-- KEYS: a sorted set per state: unit -> until when it is in the state.
-- ARGV: how many expired units to remove per set at most, the TTL of the sets (ms), then per unit: its name, '1' if a slot was
-- released, and until when it is in each state (0: it is not).
local clock = redis.call('TIME')
local now = string.format('%.0f', tonumber(clock[1]) * 1000000 + tonumber(clock[2]))
local most, ttl = tonumber(ARGV[1]), ARGV[2]

-- Only a release makes a time earlier, so other updates keep the latest time, and gateways may write them in any order.
local function update(key, unit, released, last)
  if released then redis.call('ZREM', key, unit) end
  if tonumber(last) > tonumber(redis.call('ZSCORE', key, unit) or '0') then
    redis.call('ZADD', key, last, unit)
    redis.call('PEXPIRE', key, ttl)
  end
end

local counts = {}
for i, key in ipairs(KEYS) do
  for first = 3, #ARGV, 5 do update(key, ARGV[first], ARGV[first + 1] == '1', ARGV[first + 1 + i]) end
  counts[i] = redis.call('ZCOUNT', key, '(' .. now, '+inf')
  local expired = redis.call('ZCOUNT', key, '-inf', now)
  if expired > 0 then -- fails on a replica, which needs no cleaning
    redis.pcall('ZREMRANGEBYRANK', key, 0, math.min(expired, most) - 1)
  end
end
return counts
