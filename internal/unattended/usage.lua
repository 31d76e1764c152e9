-- The first part of every script of the counter: one atomic step on Redis's clock. All times are in microseconds.
-- KEYS: the unit's slots (a sorted set: slot id -> the latest time at which the call may be sent), its block by the ASPSP
-- (until when), a key that take.lua writes only to have a write that replicas can confirm, and for take.lua and release.lua the
-- marks of released slots.
-- ARGV: limit, window, until when the operator blocks the ASPSP (0: it does not), then the arguments of the script.
local text = function(n) return string.format('%.0f', n) end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local limit, window, operator = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local since = '(' .. text(now - window)

-- Returns how many slots are in the window, until when the unit is blocked, and until when the ASPSP blocks it.
local function read()
  local used = redis.call('ZCOUNT', KEYS[1], since, '+inf')
  local aspsp = tonumber(redis.call('GET', KEYS[2]) or '0')
  return used, math.max(operator, aspsp), aspsp
end

-- Returns until when fewer than this many slots are free by the count (0: they are free, or they exceed the limit).
local function until_free(slots, used)
  local expiring = used + slots - limit
  if slots > limit or expiring <= 0 then return 0 end
  local last = redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf', 'WITHSCORES', 'LIMIT', expiring - 1, 1)
  return tonumber(last[2]) + window
end

-- Returns the reply of every script: done, used, open, when Remaining increases (0: it cannot, because nothing is used and the
-- unit is not blocked), now, and for the unit statistics until when no call is left, until when fewer than two are, and until
-- when the ASPSP blocks the unit.
local function usage(done)
  local used, blocked_until, aspsp = read()
  local open = blocked_until <= now
  local increases = until_free(math.max(limit - used, 0) + 1, used)
  if not open then
    if used < limit then increases = blocked_until else increases = math.max(increases, blocked_until) end
  end
  return {done, used, open and 1 or 0, increases, now, until_free(1, used), until_free(2, used), aspsp}
end

