-- Returns the time (µs) and the values of KEYS.
local values = redis.call('MGET', unpack(KEYS))
local clock = redis.call('TIME')
table.insert(values, 1, tonumber(clock[1]) * 1000000 + tonumber(clock[2]))
return values
