-- Forgets a list, and begins a new epoch. KEYS: list, epoch. ARGV: the epoch, for how long it is known (ms). A Redis
-- without memory refuses a script that would begin with SET.
local forgotten = redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return forgotten
