-- Takes a slot, or only reads the usage if the id is empty. KEYS[4] exists if the slot was released before. ARGV: timeout of the
-- call, slot id, '1' if replicas must confirm the step. Done is 1 if the slot is taken.
local timeout, id = tonumber(ARGV[4]), ARGV[5]

-- Every command that a take needs runs once before the slot is added. If Redis refuses one (a replica, no memory, no disk, no
-- permission), no slot is added, and reading the usage fails whenever taking a slot would.
redis.call('ZADD', KEYS[1], 'XX', 0, '-')
redis.call('PTTL', KEYS[1])
redis.call('PEXPIRE', KEYS[3], 1000)
redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf', 'LIMIT', 0, 0)
local taken = redis.call('ZSCORE', KEYS[1], id) -- a step that is resent counts once
local used, blocked_until = read()
-- Slots are kept for two windows, so that a longer window still counts earlier calls.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - 2 * window))
if ARGV[6] == '1' then redis.call('SET', KEYS[3], '', 'PX', 1000) end

if not taken and id ~= '' and not redis.call('GET', KEYS[4]) and blocked_until <= now and used < limit then
  redis.call('ZADD', KEYS[1], text(now + timeout), id)
  local life = math.ceil((2 * window + timeout) / 1000)
  if redis.call('PTTL', KEYS[1]) < life then -- a slot with a longer timeout may need more
    redis.call('PEXPIRE', KEYS[1], text(life))
  end
  taken = true
end
return usage(taken and 1 or 0)
