--- An SPOA in Lua: inside HAProxy as a service, outside over any stream.

local spop = require "spop"

local service = {}

-- Log lines beyond so many in so many seconds are counted, not written.
local LOG_LINES, LOG_SECONDS = 10, 10
-- So much of what a peer says is logged.
local QUOTED_BYTES = 255
-- Messages without a handler are told once each, at most so many names.
local UNKNOWN_NAMES = 32

-- core is HAProxy's.
local core = rawget(_G, "core")

local function write_log(text)
  if core then
    core.log(core.warning, text)
  else
    io.stderr:write(text, "\n")
  end
end

--- What a peer says, for a log: of bounded length, and nothing that a terminal or a reader of lines would obey.
local function quoted(text)
  return '"' .. text:sub(1, QUOTED_BYTES):gsub('[^ !#-~]', function(c) return ("\\x%02x"):format(c:byte()) end) .. '"'
end

--- A function that logs what a service has to tell, at a limited rate.
local function limited_log(name, write)
  local since, lines, left_out = 0, 0, 0
  return function(text)
    local now = os.time()
    if now - since >= LOG_SECONDS then
      if left_out > 0 then write(("%s: %d more log lines were left out"):format(name, left_out)) end
      since, lines, left_out = now, 0, 0
    end
    if lines < LOG_LINES then
      lines = lines + 1
      write(name .. ": " .. text)
    else
      left_out = left_out + 1
    end
  end
end

local function check_handlers(handlers)
  if type(handlers) ~= "table" then error("handlers: a table expected, got " .. type(handlers), 3) end
  for name, handler in pairs(handlers) do
    if type(name) ~= "string" or type(handler) ~= "function" then
      error(("handlers: a function for each message name expected, got %s for %s"):format(type(handler), tostring(name)), 3)
    end
  end
end

--- Splits the options into those of this driver and those of spop.agent.
local function split(options)
  local own, agent = {}, {}
  for key, value in pairs(options or {}) do
    if key == "log" then own.log = value else agent[key] = value end
  end
  for _, name in ipairs { "hello_timeout", "half_frame_timeout", "idle_timeout" } do
    -- Who waits for bytes cannot watch a clock.
    if agent[name] ~= nil then
      error(("option '%s': a service has the timeouts of its stream, such as HAProxy's 'timeout client'"):format(name), 4)
    end
  end
  spop.agent(agent) -- tells of a mistake now, not at the first connection
  return own, agent
end

--- What the connections of a service share.
local function new_context(name, handlers, options)
  local own, agent_options = split(options)
  return {
    handlers = handlers,
    agent_options = agent_options,
    log = limited_log(name, own.log or write_log),
    unknown = {},
    unknown_names = 0,
  }
end

local function unknown_message(context, name)
  if not context.unknown[name] and context.unknown_names < UNKNOWN_NAMES then
    context.unknown[name] = true
    context.unknown_names = context.unknown_names + 1
    context.log(("no handler for the message %s: it is answered without actions"):format(quoted(name)))
  end
end

--- Adds the entries of `more` behind the `count` of `list`; returns how many there are then.
local function append(list, count, more)
  for i = 1, #more do list[count + i] = more[i] end
  return count + #more
end

--- Calls the handler of each message and sends the ACK with the actions of all.
local function answer(context, agent, notify)
  local handlers = context.handlers
  local messages = notify:messages()
  -- A handler may return the same table again and again, so it stays as it is: the actions of several handlers are
  -- gathered in a table of our own.
  local actions, own, count
  for i = 1, #messages do
    local message = messages[i]
    local name = message.name
    local handler = handlers[name] or handlers["*"]
    if handler then
      local more = handler(message.args, message, notify)
      if more and not actions then
        actions = more
      elseif more then
        if not own then
          own = {}
          count = append(own, 0, actions)
        end
        count = append(own, count, more)
        actions = own
      end
    else
      unknown_message(context, name)
    end
  end
  return agent:ack(notify, actions)
end

local function handle(context, agent, event)
  if event.event == "notify" then
    local ran, sent, why = pcall(answer, context, agent, event)
    if not ran then
      context.log("a handler failed: " .. tostring(sent))
      agent:ack(event)
    elseif not sent then
      context.log("the actions were not sent: " .. why)
    end
  elseif event.event == "too-big" then
    context.log("a fragmented NOTIFY was too big and got no actions")
  elseif event.event == "disconnect" and event.status ~= spop.status.NORMAL and event.status ~= spop.status.TIMEOUT then
    context.log(("HAProxy ended the connection: %s (status %s)"):format(quoted(event.message), event.status))
  end
end

--- Reads at least one byte, at most what is there; nil at the end of the stream.
local function receive(stream, want)
  local data = stream.try_receive and stream:try_receive()
  if not data or data == "" then
    local partial, _
    data, _, partial = stream:receive(want)
    data = data or partial
  end
  return data ~= "" and data or nil
end

--- Sends all of it; false if the stream does not take it: then the peer has the half of a frame, and nothing may follow.
local function send_all(stream, bytes)
  local at = 1
  while at <= #bytes do
    -- The index of the last byte that was taken; in HAProxy that of the last one.
    local last
    if at == 1 then last = stream:send(bytes) else last = stream:send(bytes, at) end
    if not last or last < at then return false end
    at = last + 1
  end
  return true
end

local function serve(context, stream)
  local agent = spop.agent(context.agent_options)
  local data = ""
  while true do
    local events, more, status = agent:feed(data)
    local count = events and #events
    if count then
      for i = 1, count do handle(context, agent, events[i]) end
    else
      context.log(("the peer broke the protocol: %s (status %d)"):format(more, status))
    end
    if count ~= 0 then -- nothing happened: nothing to send
      local output = agent:output()
      if not send_all(stream, output) then
        agent:eof()
        return
      end
    end
    if count and more then
      data = ""
    else
      local want = agent:want()
      data = want > 0 and receive(stream, want)
      if not data then
        agent:eof() -- it gives its memory back, which Lua's collector does not see
        return
      end
    end
  end
end

--- Registers an SPOA as the TCP service `name` of HAProxy (`tcp-request content use-service lua.<name>`).
---
--- `handlers` has a function for each message name: `function(args, message, notify)` returns the actions, a list such as
--- `{ {"set-var", "sess", "score", 42} }`, or nil. The handler `"*"` takes the messages that have none of their own. An
--- error in a handler is logged, and HAProxy gets an ACK without actions.
---
--- The NOTIFYs of a connection are handled one after the other. Handlers that wait (core.msleep, core.tcp) should leave
--- pipelining out, `capabilities = "fragmentation"`: then HAProxy opens more connections instead.
---@param name string
---@param handlers table<string, fun(args: spop.Args, message: spop.Message, notify: spop.Frame): spop.Action[]?>
---@param options? spop.ServiceOptions options of spop.agent, and `log`: a function that gets each log line
function service.register(name, handlers, options)
  if not core then error("spop.service.register works inside HAProxy only; use spop.service.serve", 2) end
  check_handlers(handlers)
  local context = new_context(name, handlers, options)
  core.register_service(name, "tcp", function(applet) serve(context, applet) end)
end

--- Serves one connection outside HAProxy until it ends. `stream` has the methods `receive(n)` and `send(bytes, from)` of
--- LuaSocket, with their results; if `send` fails, by a timeout too, the connection is over.
---@param stream table
---@param handlers table<string, fun(args: spop.Args, message: spop.Message, notify: spop.Frame): spop.Action[]?>
---@param options? spop.ServiceOptions
function service.serve(stream, handlers, options)
  check_handlers(handlers)
  serve(new_context("spop.service", handlers, options), stream)
end

return service
