-- Gives a lease back with its result, unless another has it or the list was forgotten since. KEYS: lease, list,
-- note, epoch. ARGV: holder, epoch in which the lease was given, the list or "", how long it is kept (ms), whether
-- what was kept must go, how long that is known (ms), the note or "", how long it stands (ms), when the call began (µs).
-- Answers nil if the result goes nowhere; else 1 if the lease was there, and 2 more if the result is what is kept now.
local there = redis.call('MGET', KEYS[1], KEYS[2], KEYS[4])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local holder, kept, epoch = there[1], there[2] or '', there[3] or ''
if holder and holder ~= ARGV[1] then
  return false
end
redis.call('DEL', KEYS[1])
-- A lease that was given late is of an epoch that may have begun after the call.
local forgotten = epoch ~= ARGV[2] or (tonumber(string.match(epoch, ':(%d+)$') or '') or -1) >= tonumber(ARGV[9])
if forgotten and ARGV[5] ~= '1' then
  return false
end
local stands = 2
if ARGV[3] ~= '' then
  -- Other lanes, and whoever had the lease after it had ended, have called too: the newer list stays. One from the
  -- future is none, as for readers.
  local other = tonumber(string.sub(kept, 1, 16)) or -1
  if other > tonumber(string.sub(ARGV[3], 1, 16)) and other <= now + 60000000 then
    stands = 0
  else
    redis.call('SET', KEYS[2], ARGV[3], 'PX', math.max(tonumber(ARGV[4]), 1))
  end
elseif ARGV[5] == '1' then
  redis.call('DEL', KEYS[2])
  redis.call('SET', KEYS[4], ARGV[1] .. ':' .. string.format('%.0f', now), 'PX', ARGV[6])
end
if not holder then
  return stands
end
if ARGV[7] ~= '' then
  redis.call('SET', KEYS[3], ARGV[7], 'PX', ARGV[8])
end
return stands + 1
