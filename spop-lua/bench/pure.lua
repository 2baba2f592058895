-- A small SPOP codec in pure Lua 5.3 and 5.4: the other side of the benchmark. It does what an agent needs and is written
-- for speed: no closures or tables beyond the results, integers of one byte without a call, strings cut out once.

local pure = {}

local byte, sub, char, pack, unpack, format = string.byte, string.sub, string.char, string.pack, string.unpack, string.format

local function varint(s, at)
  local value = byte(s, at)
  if not value then error("truncated") end
  at = at + 1
  if value < 240 then return value, at end
  local shift = 4
  repeat
    local b = byte(s, at)
    if not b or shift > 60 then error("malformed varint") end
    at = at + 1
    value = value + (b << shift)
    shift = shift + 7
  until b < 128
  return value, at
end

local function encode_varint(n)
  if n >= 0 and n < 240 then return char(n) end
  local bytes = { char(n & 0xFF | 0xF0) }
  n = (n - 240) >> 4
  while n < 0 or n >= 128 do
    bytes[#bytes + 1] = char(n & 0x7F | 0x80)
    n = (n - 128) >> 7
  end
  bytes[#bytes + 1] = char(n)
  return table.concat(bytes)
end

local function value(s, at)
  local first = byte(s, at)
  if not first then error("truncated") end
  at = at + 1
  local kind = first & 0x0F
  if kind == 8 or kind == 9 then
    local len
    len, at = varint(s, at)
    if at + len - 1 > #s then error("truncated") end
    return sub(s, at, at + len - 1), at + len
  elseif kind >= 2 and kind <= 5 then
    return varint(s, at)
  elseif kind == 1 then
    return first & 0x10 ~= 0, at
  elseif kind == 0 then
    return nil, at
  elseif kind == 6 then
    if at + 3 > #s then error("truncated") end
    local a, b, c, d = byte(s, at, at + 3)
    return format("%d.%d.%d.%d", a, b, c, d), at + 4
  elseif kind == 7 then
    return format("%x:%x:%x:%x:%x:%x:%x:%x", unpack(">I2I2I2I2I2I2I2I2", s, at)), at + 16
  end
  error("reserved type")
end

local function skip(s, at)
  local kind = (byte(s, at) or error("truncated")) & 0x0F
  at = at + 1
  if kind == 8 or kind == 9 then
    local len
    len, at = varint(s, at)
    return at + len
  elseif kind >= 2 and kind <= 5 then
    local _
    _, at = varint(s, at)
    return at
  elseif kind < 2 then
    return at
  elseif kind == 6 then
    return at + 4
  elseif kind == 7 then
    return at + 16
  end
  error("reserved type")
end

-- Type, flags and ids of a body, and where its payload begins.
local function header(body)
  local kind, flags, at = unpack(">BI4", body)
  local stream_id, frame_id
  stream_id, at = varint(body, at)
  frame_id, at = varint(body, at)
  return kind, flags, stream_id, frame_id, at
end

-- The ids of a NOTIFY and its messages: { { name, { key = value } }, ... }.
function pure.notify(body)
  local _, _, stream_id, frame_id, at = header(body)
  local messages = {}
  local size = #body
  while at <= size do
    local len, name, count
    len, at = varint(body, at)
    name = sub(body, at, at + len - 1)
    at = at + len
    count = byte(body, at) or error("truncated")
    at = at + 1
    local args = {}
    for _ = 1, count do
      local key
      len, at = varint(body, at)
      key = sub(body, at, at + len - 1)
      args[key], at = value(body, at + len)
    end
    messages[#messages + 1] = { name, args }
  end
  return stream_id, frame_id, messages
end

-- The same, but only the arguments that are keys of `wanted` become values.
function pure.notify_wanted(body, wanted)
  local _, _, stream_id, frame_id, at = header(body)
  local messages = {}
  local size = #body
  while at <= size do
    local len, name, count
    len, at = varint(body, at)
    name = sub(body, at, at + len - 1)
    at = at + len
    count = byte(body, at) or error("truncated")
    at = at + 1
    local args = {}
    for _ = 1, count do
      local key
      len, at = varint(body, at)
      key = sub(body, at, at + len - 1)
      if wanted[key] then
        args[key], at = value(body, at + len)
      else
        at = skip(body, at + len)
      end
    end
    if at > size + 1 then error("truncated") end
    messages[#messages + 1] = { name, args }
  end
  return stream_id, frame_id, messages
end

local scopes = { proc = "\0", sess = "\1", txn = "\2", req = "\3", res = "\4" }

-- An ACK; integers, booleans and strings are what it can send.
function pure.ack(stream_id, frame_id, actions)
  local parts = { "\103\0\0\0\1", encode_varint(stream_id), encode_varint(frame_id) }
  for i = 1, #actions do
    local action = actions[i]
    local name, new = action[3], action[4]
    local n = #parts
    if action[1] == "set-var" then
      parts[n + 1] = "\1\3" .. scopes[action[2]] .. encode_varint(#name) .. name
      if math.type(new) == "integer" then
        parts[n + 2] = "\4" .. encode_varint(new)
      elseif type(new) == "boolean" then
        parts[n + 2] = new and "\17" or "\1"
      else
        parts[n + 2] = "\8" .. encode_varint(#new) .. new
      end
    else
      parts[n + 1] = "\2\2" .. scopes[action[2]] .. encode_varint(#name) .. name
    end
  end
  return pack(">s4", table.concat(parts))
end

-- The AGENT-HELLO that answers any HAPROXY-HELLO with HAProxy's usual frame size and pipelining.
function pure.hello(healthcheck)
  local capabilities = healthcheck and "\8\0" or "\8\10pipelining"
  return pack(">s4", "\101\0\0\0\1\0\0\7version\8\0032.0\14max-frame-size\3\252\240\6\12capabilities" .. capabilities)
end

return pure
