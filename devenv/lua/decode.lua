-- Decodes SPOP frames in hexadecimal, one or more per line of standard input, each with its 4-byte length:
--
--     echo 00000020030000000105070f636865636b2d636c69656e742d69700102697006c0000211 | lua decode.lua
--
-- Exit code 1 if a frame was malformed.

local spop = require "spop"

-- Text as it is, bytes as hexadecimal.
local function show(value, kind)
  if value == nil then return "null" end
  if kind == "binary" or (type(value) == "string" and value:find("[^\32-\126]")) then
    return kind .. " " .. value:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
  end
  return kind .. " " .. tostring(value)
end

local function show_pairs(list, indent)
  for _, pair in ipairs(list) do print(("%s%s = %s"):format(indent, pair[1], show(pair[2], pair.type))) end
end

-- Prints the payload; nil, a text and a status if it is malformed.
local function show_payload(frame)
  if frame.type == spop.NOTIFY and frame.fin then
    local messages, what, status = frame:messages()
    if not messages then return nil, what, status end
    for _, message in ipairs(messages) do
      print("  message " .. message.name)
      show_pairs(message:list(), "    ")
    end
  elseif frame.type == spop.ACK then
    local actions, what, status = frame:actions()
    if not actions then return nil, what, status end
    for _, action in ipairs(actions) do
      local value = action[1] == "set-var" and " = " .. show(action[4], action.type) or ""
      print(("  %s %s.%s%s"):format(action[1], action[2], action[3], value))
    end
  elseif not frame.fin or frame.type == spop.UNSET or not frame.type_name then
    print(("  %d bytes"):format(#frame.payload))
  else
    local pairs, what, status = frame:kv()
    if not pairs then return nil, what, status end
    show_pairs(pairs, "  ")
  end
  return true
end

-- Prints the frames in `bytes`; nil, a text and a status at the first malformed one.
local function show_frames(bytes)
  local at = 1 -- a position, not a shorter and shorter copy: a line may hold very many frames
  while at <= #bytes do
    local length, what, status = spop.peek_len(bytes:sub(at, at + 3))
    if not length then return nil, what or "the length is cut", status or spop.status.INVALID_FRAME end
    local left = #bytes - at + 1
    if length > left then
      return nil, ("the frame is cut: %d bytes of %d"):format(left, length), spop.status.INVALID_FRAME
    end
    local frame
    frame, what, status = spop.decode(bytes:sub(at + 4, at + length - 1))
    if not frame then return nil, what, status end
    print(("%s stream %s frame %s%s%s"):format(frame.type_name or "type " .. frame.type, frame.stream_id,
      frame.frame_id, frame.fin and "" or " (not final)", frame.abort and " (abort)" or ""))
    local shown
    shown, what, status = show_payload(frame)
    if not shown then return nil, what, status end
    at = at + length
  end
  return true
end

local malformed = false
for line in io.lines() do
  local digits = line:gsub("%s", "")
  if digits:find("%X") or #digits % 2 == 1 then
    print("not hexadecimal: " .. line)
    malformed = true
  else
    local shown, what, status = show_frames((digits:gsub("..", function(hex) return string.char(tonumber(hex, 16)) end)))
    if not shown then
      print(("malformed: %s (status %d)"):format(what, status))
      malformed = true
    end
  end
end
os.exit(malformed and 1 or 0)
