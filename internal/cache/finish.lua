-- Gives a lease back with its result, if it is still held. KEYS: lease, list, note. ARGV: holder, the list or "",
-- how long it is kept (ms), whether what was kept must go, the note, how long that stands (ms). Answers nil if
-- the lease is no longer held.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return false
end
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
elseif ARGV[4] == '1' then
  redis.call('DEL', KEYS[2])
end
redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[6])
redis.call('DEL', KEYS[1])
return 1
