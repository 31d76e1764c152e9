-- Takes one slot of a unit, or only looks when no id is given. One atomic step on Redis's own clock, in
-- microseconds. KEYS: the unit's slots (a sorted set of call ids by the latest moment at which each may have
-- left the gateway), its closure (until when, as the ASPSP said), and where replicas are waited for a key that every
-- step writes, so that they have something to confirm. ARGV: limit, window, timeout of the call,
-- the operator's closure, id or "". Returns: taken, used, open, when Remaining grows (0: nothing used), now.
local text = function(n) return string.format('%.0f', n) end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local limit, window, timeout = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local id = ARGV[5]

-- Changes nothing, and fails where a slot could not be taken: on a replica, without memory, without a disk. So a look
-- says what the next step would get, and nothing is changed before it is known that all can be.
redis.call('ZADD', KEYS[1], 'XX', 0, '-')
if KEYS[3] then redis.call('SET', KEYS[3], '', 'PX', 1000) end

local since = '(' .. text(now - window)
local used = redis.call('ZCOUNT', KEYS[1], since, '+inf')
local closed_until = math.max(tonumber(ARGV[4]), tonumber(redis.call('GET', KEYS[2]) or '0'))
local open = closed_until <= now

local taken = 0
if id ~= '' and redis.call('ZSCORE', KEYS[1], id) then
  taken = 1 -- the step was sent again because its answer was lost: it counts once
elseif id ~= '' and open and used < limit then
  -- Entries stay for two windows, so that a window may grow and still count what was called.
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - 2 * window))
  redis.call('ZADD', KEYS[1], text(now + timeout), id)
  local life = math.ceil((2 * window + timeout) / 1000)
  if redis.call('PTTL', KEYS[1]) < life then -- entries of calls with more time may have to stay longer
    redis.call('PEXPIRE', KEYS[1], text(life))
  end
  used, taken = used + 1, 1
end

local grows = 0
if used > 0 then
  -- The entry whose leaving makes room: the oldest, or a later one where the limit was lowered.
  local first = math.max(used - limit, 0)
  local entry = redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf', 'WITHSCORES', 'LIMIT', first, 1)
  grows = tonumber(entry[2]) + window
end
if not open then
  if used < limit then grows = closed_until else grows = math.max(grows, closed_until) end
end
return {taken, used, open and 1 or 0, grows, now}
