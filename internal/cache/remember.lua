-- Stores a refusal, the newest first. KEYS: the refusals of a consent. ARGV: the refusal without its time, TTL (ms), how many
-- bytes of older refusals stay.
local older = redis.call('GET', KEYS[1]) or ''
local clock = redis.call('TIME')
local refusal = ARGV[1] .. clock[1] .. string.format('%06d', clock[2])
redis.call('SET', KEYS[1], refusal .. string.sub(older, 1, tonumber(ARGV[3])), 'PX', ARGV[2])
return 1
