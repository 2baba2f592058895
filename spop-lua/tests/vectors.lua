-- The golden vectors, and what the tests share.

local json = require "dkjson"

local vectors = {}

-- The content of `folder`/`name`.json; JSON's null is vectors.null.
vectors.null = json.null
function vectors.read(folder, name)
  local path = folder .. "/" .. name .. ".json"
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  local value, _, message = json.decode(text, 1, json.null)
  return value or error(path .. ": " .. message)
end

function vectors.unhex(hex)
  return (hex:gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end))
end

function vectors.hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

return vectors
