-- Returns a lease with its result, unless another has it or the list was deleted since. KEYS: lease, list, note, calls.
-- ARGV: holder, the list or "", how long it is kept (ms), whether the stored list must go, the note or "", how long it
-- is kept (ms), whether the lease was given later than the call began, the ids of the gateway's keys, for how long a
-- list under another key or of a later schema stays (µs), the gateway's schema.
-- Returns nil if the result goes nowhere; else 1 if the lease was there, and 2 more if the result is what is stored now.
local there = redis.call('MGET', KEYS[1], KEYS[2])
local holder, kept = there[1], there[2] or ''
if holder and holder ~= ARGV[1] then
  return false
end
local registered = redis.call('ZSCORE', KEYS[4], ARGV[1])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local list, deletes, note, late = ARGV[2], ARGV[4] == '1', ARGV[5], ARGV[7] == '1'

-- What is stored comes before what is deleted: once a script has changed something, Redis lets it go on without memory.
local function store(key, value, life)
  local done = redis.pcall('SET', key, value, 'PX', math.max(tonumber(life), 1))
  return not done.err
end
-- Returns whether a list is stored that is encrypted under another key or of a later schema, and for its gateways still
-- fresh. Two gateways would overwrite each other's lists in turn, each time for a call.
local function belongs_to_others(age)
  if #kept < 21 or age >= tonumber(ARGV[9]) then
    return false
  end
  if string.byte(kept, 17) > tonumber(ARGV[10]) then
    return true
  end
  for i = 1, #ARGV[8], 4 do
    if string.sub(ARGV[8], i, i + 3) == string.sub(kept, 18, 21) then
      return false
    end
  end
  return true
end
local stored = list == '' or deletes
if list ~= '' and kept == list then
  stored, registered = true, true -- the step is sent again because its response was lost
elseif list ~= '' and registered and not late then
  -- Calls of other lanes, and whoever had the lease after it had ended, may have stored a newer list, which stays. One
  -- from the future is none, as for readers.
  local other = tonumber(string.sub(kept, 1, 16)) or -1
  local newer = other > tonumber(string.sub(list, 1, 16)) and other <= now + 60000000
  stored = not newer and not belongs_to_others(now - other) and store(KEYS[2], list, ARGV[3])
end
-- A call that is not registered any more was in progress when the list was deleted.
local counts = registered or deletes
if counts and holder and note ~= '' then
  store(KEYS[3], note, ARGV[6])
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[4], ARGV[1])
if deletes then
  redis.call('DEL', KEYS[2], KEYS[4])
end
if not counts then
  return false
end
return (holder and 1 or 0) + (stored and 2 or 0)
