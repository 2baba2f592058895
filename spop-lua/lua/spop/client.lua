--- Asks an SPOA: from HAProxy's Lua over core.tcp(), from plain Lua over LuaSocket or a socket that you give.

local spop = require "spop"

---@class spop.Connection a connection to an SPOA
local Connection = {}
Connection.__index = Connection

local client = {}

-- Seconds that connecting and each question may take.
local TIMEOUT = 1

-- core is HAProxy's.
local core = rawget(_G, "core")

--- Seconds, with a fraction where the clock has one, and how far it may be behind.
local function clock()
  if core then
    local now = core.now()
    return now.sec + now.usec / 1e6, 0
  end
  local found, socket = pcall(require, "socket")
  if found then return socket.gettime(), 0 end
  return os.time(), 1
end

local function deadline_after(timeout)
  local now, behind = clock()
  return now + timeout + behind
end

local function new_socket()
  if core then return core.tcp() end
  local found, socket = pcall(require, "socket")
  if not found then error("spop.client needs LuaSocket outside HAProxy, or the option 'socket'", 3) end
  return socket.tcp()
end

local function send_all(socket, bytes)
  local at = 1
  while at <= #bytes do
    -- The index of the last byte that was taken.
    local last, why
    if at == 1 then last, why = socket:send(bytes) else last, why = socket:send(bytes, at) end
    if not last or last < at then return nil, why or "the connection is closed" end -- HAProxy's is -1 then
    at = last + 1
  end
  return true
end

--- Ends the connection without a word: `why` is what later calls get.
local function fail(self, why, status)
  if not self.failure then
    self.failure, self.status = why, status
    self.machine:eof()
    self.socket:close()
  end
  return nil, self.failure, self.status
end

--- What the socket does next may take until the deadline; false if that is over.
local function limit(self, deadline)
  local left = deadline - clock()
  if left <= 0 then return false end
  self.socket:settimeout(math.min(left, self.timeout))
  return true
end

-- HAProxy's clock stands still between its rounds.
local HAPROXY_ROUND = 0.01

--- The socket gives or takes nothing: because the time is over? HAProxy ends a socket then, and says that it was closed;
--- others say so, and go on.
local function give_up(self, why, deadline)
  local ended = core and clock() >= deadline - HAPROXY_ROUND
  if not ended and why ~= "timeout" then return fail(self, why or "the connection is closed", spop.status.IO_ERROR) end
  if ended then fail(self, "the connection was closed: HAProxy ends a socket at its timeout", spop.status.TIMEOUT) end
  return nil, "timeout", spop.status.TIMEOUT
end

--- The same where the connection cannot go on.
local function lose(self, why, deadline)
  local _, what, status = give_up(self, why, deadline)
  return fail(self, what, status)
end

--- Sends what is to send, then reads until `done` gives something for an event.
local function exchange(self, deadline, done)
  while true do
    if not limit(self, deadline) then return nil, "timeout", spop.status.TIMEOUT end
    local output = self.machine:output()
    if output ~= "" then
      local sent, why = send_all(self.socket, output)
      if not sent then return lose(self, why, deadline) end -- the agent may have the half of a frame
      if not limit(self, deadline) then return nil, "timeout", spop.status.TIMEOUT end
    end
    local want = self.machine:want()
    if want == 0 then return fail(self, "the connection is closed", spop.status.IO_ERROR) end
    local data, why, partial = self.socket:receive(want)
    data = data or partial
    if data and data ~= "" then
      local events, what, status = self.machine:feed(data)
      if not events then
        send_all(self.socket, self.machine:output())
        return fail(self, what, status)
      end
      for _, event in ipairs(events) do
        if event.event == "disconnect" then
          return fail(self, "the agent ended the connection: " .. event.message, event.status)
        end
        local result = done(event)
        if result then return result end
      end
    else
      return give_up(self, why, deadline)
    end
  end
end

--- Connects to an SPOA and says hello.
---
--- Options: `timeout` in seconds for connecting and for each question (default 1), `socket`, a connected socket with
--- LuaSocket's methods instead of `address` and `port`, and those of spop.client.
---@param address? string
---@param port? integer
---@param options? spop.ConnectOptions
---@return spop.Connection? connection
---@return string? message
---@return integer? status
function client.connect(address, port, options)
  local timeout, socket, machine_options = TIMEOUT, nil, {}
  for key, value in pairs(options or {}) do
    if key == "timeout" then
      timeout = value
    elseif key == "socket" then
      socket = value
    else
      machine_options[key] = value
    end
  end
  if type(timeout) ~= "number" or timeout <= 0 then error("option 'timeout': a number above 0 expected", 2) end
  local self = setmetatable({ machine = spop.client(machine_options), timeout = timeout }, Connection)
  local deadline = deadline_after(timeout)
  if socket then
    self.socket = socket
  else
    self.socket = new_socket()
    self.socket:settimeout(timeout)
    local connected, why = self.socket:connect(address, port)
    if not connected then return lose(self, why or "cannot connect", deadline) end
  end
  local hello, why, status = exchange(self, deadline, function(event) return event.event == "hello" and event end)
  if not hello then return fail(self, why, status) end
  self.negotiated = hello
  return self
end

--- Asks for a health check, as HAProxy's `option spop-check` does.
---@param address? string
---@param port? integer
---@param options? spop.ConnectOptions
---@return spop.Event? hello what the agent answered
---@return string? message
---@return integer? status
function client.check(address, port, options)
  local checking = { healthcheck = true }
  for key, value in pairs(options or {}) do checking[key] = value end
  local connection, why, status = client.connect(address, port, checking)
  if not connection then return nil, why, status end
  connection.socket:close()
  return connection.negotiated
end

--- Sends a NOTIFY with one message, or with a list of messages (`{ {name, args}, ... }`), and waits for its ACK.
---
--- After a timeout (status 2) the connection serves further questions, and the late ACK is passed over; unless neither
--- pipelining nor async was agreed on, or this is HAProxy, which ends a socket at its timeout: then the connection is closed,
--- later calls say so, and the caller connects again.
---@param message string|table
---@param args? table the arguments: `{ key = value }`, or a list of `{key, value}` in order
---@return spop.Action[]? actions
---@return string? message
---@return integer? status
function Connection:notify(message, args)
  if self.failure then return nil, self.failure, self.status end
  local messages = type(message) == "table" and message or { { message, args } }
  local stream_id, frame_id, status = self.machine:notify(messages)
  if not stream_id then return nil, frame_id, status end
  local ack, why, code = exchange(self, deadline_after(self.timeout), function(event)
    return event.event == "ack" and event.stream_id == stream_id and event.frame_id == frame_id and event
  end)
  if not ack then
    local agreed = self.negotiated.capabilities
    if agreed.pipelining or agreed.async then
      if not self.failure then self.machine:forget(stream_id, frame_id) end
    else -- here the late ACK would break the protocol in the middle of the next question
      fail(self, "the connection was closed: a question had a timeout, and pipelining was not agreed on", code)
    end
    return nil, why, code
  end
  return ack:actions()
end

--- Ends the connection with a DISCONNECT.
---@param status? integer 0 (normal) by default
function Connection:close(status)
  if self.failure then return end
  self.machine:close(status)
  send_all(self.socket, self.machine:output())
  fail(self, "the connection was closed", spop.status.NORMAL)
end

return client
