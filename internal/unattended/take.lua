-- Takes slots, or with no ids only reads the usage. KEYS[4] and later exist if the slot of the same place was released before.
-- ARGV: timeout of the calls, '1' if replicas must confirm the step, the id of a slot to replace or '', how many slots are needed,
-- '1' if fewer may be taken, and the ids. Done is how many of the ids have a slot. The reply has one more value: when as many slots
-- are free as are needed (0: they are, or they exceed the limit).
local timeout, replaced, needed, first = tonumber(ARGV[4]), ARGV[6], tonumber(ARGV[7]), 9
local ids = #ARGV - first + 1

-- Every command that a take needs runs once before the first change. If Redis refuses one (a replica, no memory, no disk, no
-- permission), no slot is added, and reading the usage fails whenever taking a slot would.
redis.call('ZADD', KEYS[1], 'XX', 0, '-')
redis.call('PTTL', KEYS[1])
redis.call('PEXPIRE', KEYS[3], 1000)
redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf', 'LIMIT', 0, 0)
local taken = 0 -- a step that is resent counts once
for i = first, math.max(#ARGV, first) do
  if redis.call('ZSCORE', KEYS[1], ARGV[i] or '') then taken = taken + 1 end
end
if replaced ~= '' then redis.call('ZREM', KEYS[1], replaced) end
local used, blocked_until = read()
local free = until_free(needed, used - taken)
if needed <= limit and blocked_until > now then free = math.max(free, blocked_until) end
-- Slots are kept for two windows, so that a longer window still counts earlier calls.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - 2 * window))
if ARGV[5] == '1' then redis.call('SET', KEYS[3], '', 'PX', 1000) end

local fit = math.min(ids, limit - used)
if taken == 0 and blocked_until <= now and (fit == ids or ARGV[8] == '1') then
  for i = 1, fit do
    if not redis.call('GET', KEYS[3 + i]) then
      redis.call('ZADD', KEYS[1], text(now + timeout), ARGV[first - 1 + i])
      taken = taken + 1
    end
  end
  local life = math.ceil((2 * window + timeout) / 1000)
  if taken > 0 and redis.call('PTTL', KEYS[1]) < life then -- a slot with a longer timeout may need more
    redis.call('PEXPIRE', KEYS[1], text(life))
  end
end
local reply = usage(taken)
table.insert(reply, free)
return reply
