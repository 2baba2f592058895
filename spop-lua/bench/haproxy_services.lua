-- The same SPOA twice: by the module, and in pure Lua with the codec of pure.lua.
local service = require "spop.service"
local pure = require "pure"

local function rate(args)
  if args.ip == "192.0.2.17" then return { { "set-var", "sess", "ip_score", 42 } } end
end

service.register("bench-module", { ["check-client-ip"] = rate }, { capabilities = "pipelining" })

local handlers = { ["check-client-ip"] = rate }

local function answer(body)
  local stream_id, frame_id, messages = pure.notify(body)
  local actions
  for i = 1, #messages do
    local message = messages[i]
    local handler = handlers[message[1]]
    local more = handler and handler(message[2])
    if more then
      actions = actions or {}
      for k = 1, #more do actions[#actions + 1] = more[k] end
    end
  end
  return pure.ack(stream_id, frame_id, actions or {})
end

-- As careful as the module's driver: an error in a handler does not end the connection.
local function answer_all(body)
  local ran, ack = pcall(answer, body)
  return ran and ack or ""
end

core.register_service("bench-pure", "tcp", function(applet)
  local function read(n)
    local data = applet:receive(n)
    return data and #data == n and data or nil
  end
  local prefix = read(4)
  local hello = prefix and read((string.unpack(">I4", prefix)))
  if not hello then return end
  applet:send(pure.hello(hello:find("healthcheck\17", 1, true) ~= nil))
  if not applet.try_receive then
    while true do
      prefix = read(4)
      local body = prefix and read((string.unpack(">I4", prefix)))
      if not body then return end
      applet:send(answer_all(body))
    end
  end
  -- With try_receive (HAProxy 3.2) all that is there is read and answered at once.
  local buffer = ""
  while true do
    local data = applet:try_receive()
    if not data or data == "" then data = read(1) end
    if not data then return end
    buffer = buffer == "" and data or buffer .. data
    local at, acks, size = 1, {}, #buffer
    while size - at >= 3 do
      local length = string.unpack(">I4", buffer, at)
      if at + 3 + length > size then break end
      acks[#acks + 1] = answer_all(buffer:sub(at + 4, at + 3 + length))
      at = at + 4 + length
    end
    if at > 1 then
      applet:send(table.concat(acks))
      buffer = buffer:sub(at)
    end
  end
end)
