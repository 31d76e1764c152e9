-- Stores a call's result and releases its lease, unless another holder has it or the list was invalidated. KEYS: lease, list,
-- outcome, calls, refusals, pages. ARGV: holder; the list or "", its TTL (ms); whether the stored list must be deleted;
-- the outcome or "", its TTL (ms); the ids of the gateway's keys; for how long a list under another key or of a later schema is
-- not overwritten (µs); the gateway's schema; whether the refusals are deleted; a refusal or "", the TTL of refusals (ms), how
-- many bytes of older ones stay; the pages, "0" to delete them or "", their TTL (ms); whether the lease may still be granted.
-- Returns nil if the result is not used; else 1 if the lease was held, plus 2 if the result is stored.
local values = redis.call('MGET', KEYS[1], KEYS[2])
local holder, stored_list = values[1], values[2] or ''
local registered = redis.call('ZSCORE', KEYS[4], ARGV[1])
local list, deletes, outcome = ARGV[2], ARGV[4] == '1', ARGV[5]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])

-- Writes come before deletions: after its first change, Redis lets a script continue without memory.
local function store(key, value, ttl)
  local done = redis.pcall('SET', key, value, 'PX', math.max(tonumber(ttl), 1))
  return not done.err
end
if ARGV[16] == '1' then
  store(KEYS[3], '', ARGV[6]) -- a lookup that is executed later, or once more, is not granted the lease
end
if holder and holder ~= ARGV[1] then
  return false
end
-- A list that only other gateways can decrypt, and that is still fresh for them, stays. Otherwise two gateways would overwrite each
-- other's lists, with a call each time.
local function belongs_to_others(age)
  return #stored_list >= 21 and age < tonumber(ARGV[8]) and not readable(stored_list, ARGV[7], ARGV[9])
end
local stored = list == '' or deletes
if list ~= '' and stored_list == list then
  stored, registered = true, true -- the step was sent again because its response was lost
elseif list ~= '' and registered then
  -- Calls with another share key, and holders of an expired lease, may have stored a newer list, which stays. A list whose
  -- time is in the future does not count, as for readers.
  local other = tonumber(string.sub(stored_list, 1, 16)) or -1
  local newer = other > tonumber(string.sub(list, 1, 16)) and other <= now + 60000000
  stored = not newer and not belongs_to_others(now - other) and store(KEYS[2], list, ARGV[3])
end
-- A call that is no longer registered was in progress when the list was invalidated.
local usable = registered or deletes
if usable and holder and outcome ~= '' then
  store(KEYS[3], outcome, ARGV[6])
end
local delete_refusals, refusal, pages = ARGV[10] == '1', ARGV[11], ARGV[14]
if registered and refusal ~= '' then -- the newest first
  local older = redis.call('MGET', KEYS[5])[1] or ''
  store(KEYS[5], refusal .. string.sub(older, 1, tonumber(ARGV[13])), ARGV[12])
end
if usable and pages ~= '' and pages ~= '0' then
  store(KEYS[6], pages, ARGV[15])
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[4], ARGV[1])
if usable and delete_refusals then
  redis.call('DEL', KEYS[5])
end
if usable and pages == '0' then
  redis.call('DEL', KEYS[6])
end
if deletes then
  redis.call('DEL', KEYS[2], KEYS[4])
end
if not usable then
  return false
end
return (holder and 1 or 0) + (stored and 2 or 0)
