-- The drivers outside HAProxy: drivers.lua PORT...; each port has an SPOA that scores addresses.
local here = arg[0]:match("^(.*)/") or "."
package.path = here .. "/?.lua;" .. package.path
local socket = require "socket"
local spop = require "spop"
local client = require "spop.client"
local service = require "spop.service"
local suite = require "suite"
local test, equal, raises = suite.test, suite.equal, suite.raises

-- A socket whose peer sends `input` and then ends, or is silent; takes `pieces` bytes at each send.
local function fake(input, silent, piece)
  local self = { sent = "", closed = false }
  function self.settimeout() end
  function self.close() self.closed = true end
  function self.send(_, bytes, from)
    from = from or 1
    local last = math.min(from - 1 + (piece or #bytes), #bytes)
    self.sent = self.sent .. bytes:sub(from, last)
    return last
  end
  function self.receive(_, n)
    local data = input:sub(1, n)
    input = input:sub(n + 1)
    if #data == n then return data end
    return nil, silent and "timeout" or "closed", data
  end
  return self
end
local HELLO = spop.encode_hello({ capabilities = "pipelining", max_frame_size = 16380 })

for i = 1, #arg do
  local port = tonumber(arg[i])
  test("SPOA at port " .. port, function()
    assert(client.check("127.0.0.1", port).healthcheck)
    local agent = assert(client.connect("127.0.0.1", port, { timeout = 5 }))
    for n = 1, 200 do
      local actions = assert(agent:notify("check-client-ip", { ip = spop.ipv4("10.0.0." .. n) }))
      equal(actions, { { "set-var", "sess", "ip_score", (10 + n) % 101, type = "int64" } })
    end
    equal(assert(agent:notify({ { "check-client-ip", { ip = spop.ipv4("192.0.2.17") } } }))[1][4], 42)
    equal(assert(agent:notify("check-client-ip", { ip = spop.ipv6("::5") }))[1][4], 5)
    agent:close()
    equal({ agent:notify("check-client-ip") }, { nil, "the connection was closed", 0 })
  end)
end

test("nobody there", function()
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  -- It listens but does not answer.
  local nothing, why, status = client.connect("127.0.0.1", port, { timeout = 0.1 })
  equal({ nothing, why, status }, { nil, "timeout", 2 })
  listener:close()
  nothing, why, status = client.connect("127.0.0.1", port)
  equal({ nothing, why, status }, { nil, "connection refused", 1 })
end)

test("a client whose agent misbehaves", function()
  local peer = fake("GARBAGE!")
  local nothing, why, status = client.connect(nil, nil, { socket = peer })
  equal({ nothing, status, peer.closed }, { nil, 3, true })
  assert(why:find("max%-frame%-size"), why)
  -- The last frame it got tells it.
  assert(peer.sent:find("status-code\3\3", 1, true), "a DISCONNECT 3")
  peer = fake(spop.encode_disconnect(99, "not today"))
  equal({ client.connect(nil, nil, { socket = peer }) }, { nil, "the agent ended the connection: not today", 99 })
  equal({ client.connect(nil, nil, { socket = fake("") }) }, { nil, "closed", 1 })
  -- It ends in the middle of an ACK.
  local agent = assert(client.connect(nil, nil, { socket = fake(HELLO .. spop.encode_ack(1, 1):sub(1, 7)) }))
  equal({ agent:notify("m") }, { nil, "closed", 1 })
  equal({ agent:notify("m") }, { nil, "closed", 1 })
  -- Its actions are malformed.
  agent = assert(client.connect(nil, nil, { socket = fake(HELLO .. spop.encode_frame(spop.ACK, 1, 1, 1, "\9")) }))
  equal({ select("#", agent:notify("m")) }, { 4 })
end)

test("an answer that comes after the timeout is no answer to the next question", function()
  local input = { HELLO, nil }
  local peer = fake("")
  local late = spop.encode_ack(1, 1, { { "set-var", "txn", "late", 1 } }) ..
    spop.encode_ack(2, 1, { { "set-var", "txn", "right", 1 } })
  local turns = 0
  function peer.receive(_, n)
    turns = turns + 1
    if turns == 3 then return nil, "timeout", "" end
    if turns == 4 then input[1] = input[1] .. late end
    local data = input[1]:sub(1, n)
    input[1] = input[1]:sub(n + 1)
    return data
  end
  local agent = assert(client.connect(nil, nil, { socket = peer }))
  equal({ agent:notify("m") }, { nil, "timeout", 2 })
  equal(assert(agent:notify("m"))[1][3], "right")
end)

test("after a timeout without pipelining the connection is over, and says so", function()
  local peer = fake(spop.encode_hello({ capabilities = "fragmentation", max_frame_size = 16380 }), true)
  local agent = assert(client.connect(nil, nil, { socket = peer }))
  equal({ agent:notify("m") }, { nil, "timeout", 2 })
  equal(peer.closed, true)
  local sent = peer.sent
  local nothing, why, status = agent:notify("m")
  equal({ nothing, status, peer.sent == sent }, { nil, 2, true })
  assert(why:find("pipelining was not agreed on", 1, true), why)
  agent:close()
  equal(peer.sent == sent, true)
  -- With async, late ACKs are known.
  agent = assert(client.connect(nil, nil, { capabilities = "async", socket =
    fake(spop.encode_hello({ capabilities = "async", max_frame_size = 16380 }), true) }))
  equal({ agent:notify("m") }, { nil, "timeout", 2 })
  equal({ agent:notify("m") }, { nil, "timeout", 2 })
end)

test("a clock of whole seconds shortens no timeout", function()
  local loaded, time, now = package.loaded.socket, os.time, 100
  package.loaded.socket, package.preload.socket = nil, function() error("there is none") end
  function os.time() return now end
  local peer = fake(HELLO)
  local receive, given = peer.receive, 0
  function peer.settimeout(_, seconds) given = math.max(given, seconds) end
  function peer.receive(...)
    now = now + 1 -- the second was nearly over
    return receive(...)
  end
  local connection, why = client.connect(nil, nil, { socket = peer, timeout = 0.5 })
  package.loaded.socket, package.preload.socket, os.time = loaded, nil, time
  assert(connection, why)
  equal(given, 0.5)
end)

test("what a client sends takes no longer than its timeout", function()
  local peer = fake(HELLO .. spop.encode_ack(1, 1), true)
  local left
  local limits = {}
  function peer.settimeout(_, seconds) left = seconds end
  local send = peer.send
  function peer.send(...)
    limits[#limits + 1] = left or 0
    left = nil
    return send(...)
  end
  local agent = assert(client.connect(nil, nil, { socket = peer, timeout = 5 }))
  assert(agent:notify("m"))
  assert(#limits == 2 and limits[1] > 0 and limits[1] <= 5 and limits[2] > 0 and limits[2] <= 5, table.concat(limits, " "))
  -- It does not take all of it until then.
  function peer.send(_, bytes) return nil, "timeout", #bytes - 1 end
  equal({ agent:notify("m") }, { nil, "timeout", 2 })
  equal({ agent:notify("m"), peer.closed }, { nil, true })
end)

test("a socket that takes few bytes at a time", function()
  local peer = fake(HELLO .. spop.encode_ack(1, 1), false, 3)
  local agent = assert(client.connect(nil, nil, { socket = peer, engine_id = "me" }))
  equal(agent:notify("m", { a = 1 }), {})
  assert(peer.sent:find("engine-id\8\2me", 1, true))
  equal(select(2, peer.sent:gsub("\1m\1\1a\4\1", "")), 1)
end)

test("misuse of the drivers", function()
  raises("inside HAProxy only", service.register, "x", {})
  raises("handlers: a table expected", service.serve, fake(""), nil)
  raises("a function for each message name", service.serve, fake(""), { m = 1 })
  raises("unknown option 'maximum'", service.serve, fake(""), {}, { maximum = 1 })
  for _, name in ipairs { "hello_timeout", "half_frame_timeout", "idle_timeout" } do
    raises("option '" .. name .. "': a service has", service.serve, fake(""), {}, { [name] = 1 })
  end
  raises("option 'timeout'", client.connect, "127.0.0.1", 1, { timeout = 0 })
  raises("unknown option 'tls'", client.connect, "127.0.0.1", 1, { tls = true })
end)

test("a service and what it logs", function()
  local lines = {}
  local input = { spop.encode_hello({ from = "haproxy", capabilities = "pipelining" }) }
  for i = 1, 40 do input[#input + 1] = spop.encode_notify(i, 1, { { i % 2 == 0 and "fail" or "unknown" } }) end
  input[#input + 1] = spop.encode_frame(spop.NOTIFY, spop.FIN, 99, 1, "\5cut")
  local peer = fake(table.concat(input))
  service.serve(peer, { fail = function() error("on purpose") end }, { log = function(line) lines[#lines + 1] = line end })
  local acks, at, last = 0, 1, nil
  while at <= #peer.sent do
    local length = assert(spop.peek_len(peer.sent:sub(at)))
    last = assert(spop.decode(peer.sent:sub(at + 4, at + length - 1)))
    if last.type == spop.ACK then acks = acks + 1 end
    at = at + length
  end
  equal({ acks, last.type, last:kv()[1][2] }, { 40, spop.AGENT_DISCONNECT, 4 })
  equal(#lines, 10, "log lines, the rest counted")
  assert(lines[1]:find('no handler for the message "unknown"', 1, true), lines[1])
  assert(lines[2]:find("on purpose", 1, true), lines[2])
end)

-- The frames that `peer` got: how many of each type.
local function types(peer)
  local found, at = {}, 1
  while at <= #peer.sent do
    local length = assert(spop.peek_len(peer.sent:sub(at)))
    local frame = assert(spop.decode(peer.sent:sub(at + 4, at + length - 1)))
    found[frame.type] = (found[frame.type] or 0) + 1
    at = at + length
  end
  return found
end

test("a service whose peer takes few bytes at a time, or no more", function()
  local input = spop.encode_hello({ from = "haproxy", capabilities = "pipelining" })
  for i = 1, 3 do input = input .. spop.encode_notify(i, 1, { { "m" } }) end
  local peer = fake(input, false, 3)
  service.serve(peer, { m = function() end })
  equal(types(peer), { [spop.AGENT_HELLO] = 1, [spop.ACK] = 3 })
  -- The half of a frame leaves: nothing may follow it.
  peer = fake(input)
  local send, sends = peer.send, 0
  function peer.send(self, bytes, from)
    sends = sends + 1
    if sends ~= 2 then return send(self, bytes, from) end
    return nil, "timeout", send(self, bytes:sub(1, 5))
  end
  service.serve(peer, { m = function() end })
  equal({ sends, #peer.sent - spop.peek_len(peer.sent) }, { 2, 5 })
end)

test("what a peer says stays on its line of the log", function()
  local lines = {}
  local serve = function(frame)
    local peer = fake(spop.encode_hello({ from = "haproxy", capabilities = "pipelining" }) .. frame)
    service.serve(peer, {}, { log = function(line) lines[#lines + 1] = line end })
  end
  serve(spop.encode_notify(1, 1, { { 'a"b\n\27[2J\0' .. ("x"):rep(1000) } }))
  serve(spop.encode_disconnect(4, "broken\nservice: all is well", "haproxy"))
  equal(#lines, 2, "log lines")
  assert(lines[1]:find([["a\x22b\x0a\x1b[2J\x00x]], 1, true) and #lines[1] < 400, lines[1])
  assert(lines[2]:find([["broken\x0aservice: all is well" (status 4)]], 1, true), lines[2])
end)

-- How many instructions of Lua `f` takes; LuaJIT counts those of its interpreter.
local function instructions(f)
  if rawget(_G, "jit") then jit.off() end
  local count = 0
  debug.sethook(function() count = count + 1 end, "", 100)
  f()
  debug.sethook()
  if rawget(_G, "jit") then jit.on() end
  return count * 100
end

test("the actions of many messages: all of them, in order, with work that grows as they do", function()
  local function work(n)
    local messages = {}
    for i = 1, n do messages[i] = { "m", { i = i } } end
    local large = 2 ^ 20
    local peer = fake(spop.encode_hello({ from = "haproxy", capabilities = "pipelining", max_frame_size = large }) ..
      spop.encode_notify(1, 1, messages, large))
    local constant = { { "unset-var", "txn", "constant" } }
    local taken = instructions(function()
      service.serve(peer, { m = function(args)
        if args.i % 2 == 0 then return constant end
        return { { "set-var", "txn", "v", args.i }, { "unset-var", "txn", "w" } }
      end }, { max_frame_size = large })
    end)
    equal(#constant, 1, "the handler's own table")
    local hello = assert(spop.peek_len(peer.sent:sub(1, 4)))
    local actions = assert(spop.decode(peer.sent:sub(hello + 5))):actions()
    equal(#actions, n + n / 2)
    for i = 1, n, 2 do
      local at = (i - 1) / 2 * 3 + 1
      equal({ actions[at][4], actions[at + 1][3], actions[at + 2][3] }, { i, "w", "constant" })
    end
    return taken
  end
  local small, large = work(1000), work(4000)
  print(("%d instructions for 1000 messages, %d for 4000"):format(small, large))
  assert(large < 6 * small, "the work grows faster than the number of messages")
end)

suite.finish("drivers")
