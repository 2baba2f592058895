-- Talks SPOP to services that run inside HAProxy (haproxy_services.lua):
--
--     wire.lua VECTORS PORT PORT_WITH_FRAGMENTS PID [ends]
--
-- PID is HAProxy's, for its memory. ends: only shows that a connection does end after 4 s of run time by default.
local here = arg[0]:match("^(.*)/") or "."
package.path = here .. "/?.lua;" .. package.path
local socket = require "socket"
local spop = require "spop"
local client = require "spop.client"
local suite = require "suite"
local vectors = require "vectors"
local test, equal = suite.test, suite.equal

local folder, port, fragments_port, pid, ends = arg[1], tonumber(arg[2]), tonumber(arg[3]), arg[4], arg[5]

local function connect(where) return assert(client.connect("127.0.0.1", where or port, { timeout = 10 })) end

-- A bare socket, before or after the handshake.
local function bare(where, handshake)
  local connection = assert(socket.connect("127.0.0.1", where or port))
  connection:settimeout(10)
  connection:setoption("tcp-nodelay", true)
  if handshake then
    assert(connection:send(spop.encode_hello({ from = "haproxy", capabilities = "pipelining" })))
    local prefix = assert(connection:receive(4))
    assert(connection:receive(spop.peek_len(prefix) - 4))
  end
  return connection
end

local function read_frame(connection)
  local prefix, why, partial = connection:receive(4)
  if not prefix then return nil, why, partial end
  return assert(spop.decode(assert(connection:receive(assert(spop.peek_len(prefix)) - 4))))
end

-- The run time that a connection gets: 60 NOTIFYs of 100 ms each.
local function burn()
  local connection = connect()
  for i = 1, 60 do
    local actions = connection:notify("burn", { ms = 100 })
    -- HAProxy's error of an execution timeout ends the handler, and the connection with or after it.
    if not actions or not actions[1] then return i - 1 end
    assert(actions[1][4] > 0)
  end
  connection:close()
  return 60
end

if ends then
  test("by default a service ends after 4 s of run time", function()
    local turns = burn()
    -- Of 100 ms of CPU each; HAProxy counts what passes meanwhile, which is more on a busy machine.
    assert(turns >= 1 and turns < 60, "it ended after " .. turns)
  end)
  suite.finish("wire (service-timeout)")
end

test("health check", function()
  local hello = assert(client.check("127.0.0.1", port))
  equal({ hello.healthcheck, hello.capabilities }, { true, {} })
end)

test("byte by byte", function()
  local connection = bare()
  local bytes = spop.encode_hello({ from = "haproxy", capabilities = "pipelining" })
  for i = 1, 3 do bytes = bytes .. spop.encode_notify(i, 1, { { "check-client-ip", { ip = spop.ipv4("192.0.2." .. i) } } }) end
  for i = 1, #bytes do assert(connection:send(bytes:sub(i, i))) end
  equal(assert(read_frame(connection)).type, spop.AGENT_HELLO)
  for i = 1, 3 do
    local ack = assert(read_frame(connection))
    equal({ ack.type, ack.stream_id, ack:actions()[1][4] }, { spop.ACK, i, "192.0.2." .. i })
  end
  connection:close()
end)

test("frames of 16,380 bytes both ways", function()
  local connection = connect()
  -- type and flags 5, ids 2, message 5 and 1, key 5, value 1 and 3
  local length = 16380 - 22
  equal(#assert(spop.encode_notify(1, 1, { { "size", { body = ("b"):rep(length) } } })), 16384)
  equal(assert(connection:notify("size", { body = ("b"):rep(length) }))[1][4], length)
  -- type and flags 5, ids 2, action 3, name 4, value 1 and 3; the client counts stream-ids
  equal(#assert(connection:notify("grow", { n = 16380 - 18 }))[1][4], 16380 - 18)
  -- One more does not fit: an empty ACK, and the connection stays.
  equal(connection:notify("grow", { n = 16380 - 17 }), {})
  equal(assert(connection:notify("size", { body = "abc" }))[1][4], 3)
  connection:close()
end)

test("500 NOTIFYs in one go", function()
  local connection = bare(port, true)
  local frames = {}
  for i = 1, 500 do frames[i] = spop.encode_notify(i, 1, { { "check-client-ip", { ip = "address " .. i } } }) end
  assert(connection:send(table.concat(frames)))
  for i = 1, 500 do
    local ack = assert(read_frame(connection))
    equal({ ack.stream_id, ack:actions()[1][4] }, { i, "address " .. i })
  end
  connection:close()
end)

test("fragments", function()
  local connection = connect(fragments_port)
  assert(connection.negotiated.capabilities.fragmentation)
  equal(assert(connection:notify("size", { body = ("b"):rep(60000) }))[1][4], 60000)
  equal(connection:notify("size", { body = ("b"):rep(70000) }), {})
  connection:close()
end)

test("handlers that fail are answered", function()
  local connection = connect()
  for _ = 1, 3 do
    equal(connection:notify("fail"), {})
    equal(connection:notify("nonsense"), {})
    equal(connection:notify("no-such-message"), {})
  end
  -- Several messages in one NOTIFY; the handler's own table stays as it is.
  for _ = 1, 2 do
    local actions = assert(connection:notify({ { "constant" }, { "size", { body = "1234" } } }))
    equal({ #actions, actions[1][3], actions[2][4] }, { 2, "constant", 4 })
  end
  equal(#assert(connection:notify("constant")), 1)
  connection:close()
end)

test("a handler that waits", function()
  local connection = connect()
  local start = socket.gettime()
  equal(assert(connection:notify("wait", { ms = 50 }))[1][4], 50)
  assert(socket.gettime() - start >= 0.05)
  connection:close()
end)

test("a client in HAProxy tells a timeout, which ends its socket", function()
  local connection = connect()
  local actions = assert(connection:notify("impatient", { port = port }))
  equal(actions[1][4], "2: timeout")
  equal(actions[2][4], "2: the connection was closed: HAProxy ends a socket at its timeout")
  connection:close()
end)

test("malformed frames get their status while another connection goes on", function()
  local other = connect()
  local tried = 0
  for i, v in ipairs(vectors.read(folder, "frames_invalid")) do
    -- Each service has one frame size, HAProxy's.
    if v.receiver == "agent" and v.outcome == "disconnect" and not v.max_frame_size then
      tried = tried + 1
      local where = v.state == "running+fragmentation" and fragments_port or port
      local connection = bare(where, v.state ~= "await-hello")
      assert(connection:send(vectors.unhex(v.hex)))
      local frame, why = read_frame(connection)
      assert(frame, v.id .. ": " .. tostring(why))
      equal({ frame.type, frame:kv()[1][2] }, { spop.AGENT_DISCONNECT, v.status }, v.id)
      equal({ connection:receive(1) }, { nil, "closed", "" }, v.id)
      connection:close()
      equal(assert(other:notify("size", { body = ("x"):rep(i) }))[1][4], i)
    end
  end
  print(tried .. " malformed frames")
  assert(tried > 40)
  other:close()
end)

test("one connection past 5 s of Lua run time", function() equal(burn(), 60) end)

local function resident()
  for line in io.lines("/proc/" .. pid .. "/status") do
    local kib = line:match("^VmRSS:%s+(%d+) kB")
    if kib then return tonumber(kib) end
  end
end

test("memory is flat over 100,000 frames", function()
  local connection = bare(port, true)
  local batch, acks = {}, 0
  for i = 1, 100 do batch[i] = spop.encode_notify(i, 1, { { "check-client-ip", { ip = spop.ipv4("192.0.2.17") } } }) end
  batch = table.concat(batch)
  local function exchange(batches)
    for _ = 1, batches do
      assert(connection:send(batch))
      for _ = 1, 100 do
        assert(read_frame(connection))
        acks = acks + 1
      end
    end
    assert(connection:send(spop.encode_notify(200, 1, { { "memory" } })))
    return assert(read_frame(connection)):actions()[1][4]
  end
  local lua_before = exchange(100)
  local before = resident()
  local lua_after = exchange(1000)
  local after = resident()
  print(("memory over 100000 frames: Lua %d to %d KiB, HAProxy %d to %d KiB"):format(lua_before, lua_after, before, after))
  equal(acks, 110000)
  assert(lua_after <= lua_before + 64, "Lua's memory grew")
  assert(after <= before + 2048, "HAProxy grew")
  connection:close()
end)

suite.finish("wire")
