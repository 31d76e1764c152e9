-- Gives a lease back with its result, unless another has it or the list was forgotten since. KEYS: lease, list,
-- note, epoch. ARGV: holder, epoch in which the lease was given, the list or "", how long it is kept (ms), whether
-- what was kept must go, how long that is known (ms), the note or "", how long it stands (ms), SHA-1 of what was kept
-- when the lease was asked for. Answers nil if the result goes nowhere, 0 if the lease had ended before.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return false
end
-- Without a lease others may have called since: what they have kept stays.
if not holder and redis.sha1hex(redis.call('MGET', KEYS[2])[1] or '') ~= ARGV[9] then
  return false
end
redis.call('DEL', KEYS[1])
if (redis.call('GET', KEYS[4]) or '') ~= ARGV[2] then
  return false
end
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[2], ARGV[3], 'PX', math.max(tonumber(ARGV[4]), 1))
elseif ARGV[5] == '1' then
  redis.call('DEL', KEYS[2])
  redis.call('SET', KEYS[4], ARGV[1], 'PX', ARGV[6])
end
if not holder then
  return 0
end
if ARGV[7] ~= '' then
  redis.call('SET', KEYS[3], ARGV[7], 'PX', ARGV[8])
end
return 1
