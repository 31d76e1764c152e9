-- The first part of every script of the counter: one atomic step on Redis's clock. All times are in microseconds.
-- KEYS: the unit's slots (a sorted set: slot id -> the latest time at which the call may be sent), its block by the ASPSP
-- (until when), and a key that take.lua writes only to have a write that replicas can confirm.
-- ARGV: limit, window, until when the operator blocks the ASPSP (0: it does not), then the arguments of the script.
local text = function(n) return string.format('%.0f', n) end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local limit, window, operator = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local since = '(' .. text(now - window)

-- Returns how many slots are in the window, and until when the unit is blocked.
local function read()
  local used = redis.call('ZCOUNT', KEYS[1], since, '+inf')
  return used, math.max(operator, tonumber(redis.call('GET', KEYS[2]) or '0'))
end

-- Returns the reply of every script: done, used, open, when Remaining increases (0: nothing is used), now.
local function usage(done)
  local used, blocked_until = read()
  local open = blocked_until <= now
  local grows = 0
  if used > 0 then
    -- The slot that must expire: the oldest, or a later one if the limit was lowered.
    local first = math.max(used - limit, 0)
    local slot = redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf', 'WITHSCORES', 'LIMIT', first, 1)
    grows = tonumber(slot[2]) + window
  end
  if not open then
    if used < limit then grows = blocked_until else grows = math.max(grows, blocked_until) end
  end
  return {done, used, open and 1 or 0, grows, now}
end

