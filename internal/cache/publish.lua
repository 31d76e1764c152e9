-- Stores a call's result and releases its lease, unless another holder has it or the list was invalidated. KEYS: lease, list,
-- outcome record, calls, refusals, pages. ARGV: holder; the list or "", its TTL (ms); whether the stored list must be deleted;
-- the record or "", its TTL (ms); the ids of the gateway's keys; for how long a list under another key or of a later schema is
-- not overwritten (µs); the gateway's schema; whether the refusals are deleted; a refusal or "", the TTL of refusals (ms), how
-- many bytes of older ones stay; the pages, "0" to delete them or "", their TTL (ms).
-- Returns nil if the result is not used; else 1 if the lease was held, plus 2 if the result is stored.
local there = redis.call('MGET', KEYS[1], KEYS[2])
local holder, kept = there[1], there[2] or ''
if holder and holder ~= ARGV[1] then
  return false
end
local registered = redis.call('ZSCORE', KEYS[4], ARGV[1])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local list, deletes, note = ARGV[2], ARGV[4] == '1', ARGV[5]

-- Writes come before deletions: after its first change, Redis lets a script continue without memory.
local function store(key, value, life)
  local done = redis.pcall('SET', key, value, 'PX', math.max(tonumber(life), 1))
  return not done.err
end
-- Returns whether the stored list is encrypted under another key or of a later schema, and is still fresh for the gateways
-- that can read it. Otherwise two gateways would overwrite each other's lists, with a call each time.
local function belongs_to_others(age)
  if #kept < 21 or age >= tonumber(ARGV[8]) then
    return false
  end
  if string.byte(kept, 17) > tonumber(ARGV[9]) then
    return true
  end
  for i = 1, #ARGV[7], 4 do
    if string.sub(ARGV[7], i, i + 3) == string.sub(kept, 18, 21) then
      return false
    end
  end
  return true
end
local stored = list == '' or deletes
if list ~= '' and kept == list then
  stored, registered = true, true -- the step was sent again because its response was lost
elseif list ~= '' and registered then
  -- Calls with another share key, and holders of an expired lease, may have stored a newer list, which stays. A list whose
  -- time is in the future does not count, as for readers.
  local other = tonumber(string.sub(kept, 1, 16)) or -1
  local newer = other > tonumber(string.sub(list, 1, 16)) and other <= now + 60000000
  stored = not newer and not belongs_to_others(now - other) and store(KEYS[2], list, ARGV[3])
end
-- A call that is no longer registered was in progress when the list was invalidated.
local counts = registered or deletes
if counts and holder and note ~= '' then
  store(KEYS[3], note, ARGV[6])
end
local forget, refusal, pages = ARGV[10] == '1', ARGV[11], ARGV[14]
if registered and refusal ~= '' then -- the newest first
  local older = redis.call('MGET', KEYS[5])[1] or ''
  store(KEYS[5], refusal .. string.sub(older, 1, tonumber(ARGV[13])), ARGV[12])
end
if counts and pages ~= '' and pages ~= '0' then
  store(KEYS[6], pages, ARGV[15])
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[4], ARGV[1])
if counts and forget then
  redis.call('DEL', KEYS[5])
end
if counts and pages == '0' then
  redis.call('DEL', KEYS[6])
end
if deletes then
  redis.call('DEL', KEYS[2], KEYS[4])
end
if not counts then
  return false
end
return (holder and 1 or 0) + (stored and 2 or 0)
