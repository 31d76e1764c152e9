-- Returns whether a gateway can decrypt a stored list: its schema is not later than the gateway's, and the gateway has its key.
-- ids are the ids of the gateway's keys, one after the other.
local function readable(list, ids, schema)
  if #list < 21 or string.byte(list, 17) > tonumber(schema) then
    return false
  end
  for i = 1, #ids, 4 do
    if string.sub(ids, i, i + 3) == string.sub(list, 18, 21) then
      return true
    end
  end
  return false
end
