-- Returns how many units are in each state, after updating one unit if it is given. Times are in microseconds of Redis's
-- clock.
-- KEYS: a sorted set per state: unit -> until when it is in the state.
-- ARGV: how many expired units to remove per set at most; for an update also the unit, the TTL of the sets (ms), '1' if a slot
-- was released, and until when the unit is in each state (0: it is not).
local clock = redis.call('TIME')
local now = string.format('%.0f', tonumber(clock[1]) * 1000000 + tonumber(clock[2]))
local most, unit, ttl, released = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4] == '1'

-- Only a release makes a time earlier, so other updates keep the latest time and may arrive in any order.
local function update(key, last)
  if released then redis.call('ZREM', key, unit) end
  if tonumber(last) > tonumber(redis.call('ZSCORE', key, unit) or '0') then
    redis.call('ZADD', key, last, unit)
    redis.call('PEXPIRE', key, ttl)
  end
end

local counts = {}
for i, key in ipairs(KEYS) do
  if unit then update(key, ARGV[4 + i]) end
  counts[i] = redis.call('ZCOUNT', key, '(' .. now, '+inf')
  local expired = redis.call('ZCOUNT', key, '-inf', now)
  if expired > 0 then -- fails on a replica, which needs no cleaning
    redis.pcall('ZREMRANGEBYRANK', key, 0, math.min(expired, most) - 1)
  end
end
return counts
