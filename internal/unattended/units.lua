-- Counts the units that are in a state, and forgets some of those that no longer are. One clock, Redis's own, in
-- microseconds. KEYS: sets of units by the moment at which each leaves the state. ARGV: how many of each set to forget at
-- most, since to forget a million at once would hold up everybody. Returns: how many are in each.
local clock = redis.call('TIME')
local now = string.format('%.0f', tonumber(clock[1]) * 1000000 + tonumber(clock[2]))
local counts = {}
for i, key in ipairs(KEYS) do
  counts[i] = redis.call('ZCOUNT', key, '(' .. now, '+inf')
  local past = redis.call('ZCOUNT', key, '-inf', now)
  if past > 0 then -- a replica may not, and need not
    redis.pcall('ZREMRANGEBYRANK', key, 0, math.min(past, tonumber(ARGV[1])) - 1)
  end
end
return counts
