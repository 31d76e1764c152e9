-- Returns the usage, and when enough slots are free (0: they are, or they exceed the limit). ARGV: how many are needed.
local needed = tonumber(ARGV[4])
local used, blocked_until = read()
local free = until_free(needed, used)
if needed <= limit and blocked_until > now then free = math.max(free, blocked_until) end
local reply = usage(1)
table.insert(reply, free)
return reply
