-- Forgets a list, and begins a new epoch, which bears the time. KEYS: list, epoch. ARGV: the epoch, for how long it is
-- known (ms). A Redis without memory refuses a script that would begin with SET.
local clock = redis.call('TIME')
local forgotten = redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1] .. ':' .. clock[1] .. string.format('%06d', clock[2]), 'PX', ARGV[2])
return forgotten
