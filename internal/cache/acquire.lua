-- Returns what a request needs to know before its call, and grants it a lease. It grants none if another holder has it, or if
-- the list satisfies the request. The call is registered with its lease.
-- KEYS: lease, calls (calls in progress, each with the latest time at which its result may be stored, in ms), the holder's outcome,
-- refusals, pages, and the list if there is one. ARGV: holder, TTL (ms), for how long the result may be stored (ms from now), the
-- age below which a list satisfies the request (µs), the ids of the gateway's keys, the gateway's schema.
-- Returns the holder, '' for none; the time (µs) and the list; unless the list satisfies the request, also the refusals and the
-- pages. A key of another type counts as missing.
local holder, list = unpack(redis.call('MGET', KEYS[1], KEYS[6] or KEYS[5]))
if not KEYS[6] then
  list = false
end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

-- Returns whether the list satisfies the request, if the gateway can decrypt it.
local function satisfies()
  local fetched = tonumber(string.sub(list, 1, 16))
  return fetched and fetched <= now + 60000000 and math.max(now - fetched, 0) < tonumber(ARGV[4]) and readable(list, ARGV[5], ARGV[6])
end

-- Grants the lease, unless it was released before: then its request has left. Its first two commands change nothing, and fail if
-- the others would: after its first change, Redis lets a script continue without memory.
local function grant()
  redis.call('ZADD', KEYS[2], 'XX', 0, '-')
  redis.call('PEXPIRE', KEYS[1], 1)
  if redis.call('GET', KEYS[3]) then
    return ''
  end
  local at, life = math.floor(now / 1000), tonumber(ARGV[3])
  local left = redis.call('PTTL', KEYS[2])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', at)) -- calls of gateways that ended
  redis.call('ZADD', KEYS[2], string.format('%.0f', at + life), ARGV[1])
  if left < life then
    redis.call('PEXPIRE', KEYS[2], life)
  end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end

local reply = {'', clock[1] .. string.format('%06d', clock[2]), list or ''}
if list and holder ~= ARGV[1] and satisfies() then -- it is the holder if the step was sent again because its response was lost
  return reply
end
local learned = redis.call('MGET', KEYS[4], KEYS[5])
reply[1], reply[4], reply[5] = holder or grant(), learned[1] or '', learned[2] or ''
return reply
