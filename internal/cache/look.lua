-- Reads values and the time in one step. KEYS: what is read. Answers the time (µs), then the values.
local values = redis.call('MGET', unpack(KEYS))
local clock = redis.call('TIME')
table.insert(values, 1, tonumber(clock[1]) * 1000000 + tonumber(clock[2]))
return values
