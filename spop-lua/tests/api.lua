-- What the golden vectors do not show: misuse, exact integers, bounds, memory, the two machines against each other.
local here = arg[0]:match("^(.*)/") or "."
package.path = here .. "/?.lua;" .. package.path
local spop = require "spop"
local suite = require "suite"
local test, equal, raises, refused = suite.test, suite.equal, suite.raises, suite.refused

local has_integers = math.type ~= nil

-- An agent and a client after the handshake.
local function pair(agent_options, client_options)
  local agent, client = spop.agent(agent_options), spop.client(client_options)
  assert(agent:feed(client:output()))
  assert(client:feed(agent:output()))
  return agent, client
end

local function notify(agent, client, messages)
  assert(client:notify(messages))
  return assert(agent:feed(client:output()))[1]
end

test("misuse raises with a clear text", function()
  raises("bad argument #1", spop.decode)
  raises("a string expected, got no value", spop.decode)
  raises("a string expected, got a number", spop.decode, 12)
  raises("not an integer", spop.encode_ack, "5", 1)
  raises("not an integer", spop.encode_ack, true, 1)
  raises("number without an exact integer", spop.encode_ack, 1.5, 1)
  raises("a table of actions expected, got a string", spop.encode_ack, 1, 1, "x")
  raises("actions[2]: a table expected", spop.encode_ack, 1, 1, { { "unset-var", "txn", "a" }, "x" })
  raises("actions[1]: neither set-var nor unset-var", spop.encode_ack, 1, 1, { { "set_var", "txn", "a", 1 } })
  raises("actions[1]: the scope is none of", spop.encode_ack, 1, 1, { { "set-var", "transaction", "a", 1 } })
  raises("actions[1]: the variable's name is not a string", spop.encode_ack, 1, 1, { { "set-var", "txn", nil, 1 } })
  raises("actions[1]: neither a string, boolean", spop.encode_ack, 1, 1, { { "set-var", "txn", "a", {} } })
  raises("actions[1]: a number without an exact integer", spop.encode_ack, 1, 1, { { "set-var", "txn", "a", 0.5 } })
  raises("actions[1]: a type that SPOP does not have", spop.encode_ack, 1, 1, { { "set-var", "txn", "a", 1, type = "int" } })
  raises("actions[1]: not an IPv4 address", spop.encode_ack, 1, 1, { { "set-var", "txn", "a", "x", type = "ipv4" } })
  raises("messages[1]: the name is not a string", spop.encode_notify, 1, 1, { { 1 } })
  raises("messages[1]: argument 1: the key is not a string", spop.encode_notify, 1, 1, { { "m", { { 1, 2 } } } })
  raises("messages[1]: argument k: neither a string", spop.encode_notify, 1, 1, { { "m", { k = print } } })
  raises("an argument's key is not a string", spop.encode_notify, 1, 1, { { "m", { [true] = 1 } } })
  raises("unknown option 'max_frame'", spop.agent, { max_frame = 1 })
  raises("option 'max_frame_size': an integer from 256 to 4294967295 expected", spop.agent, { max_frame_size = 255 })
  raises("option 'capabilities': words out of", spop.client, { capabilities = "pipelining,fast" })
  raises("option 'engine_id': at most 64 bytes", spop.client, { engine_id = ("x"):rep(65) })
  raises("option 'from': 'agent' or 'haproxy'", spop.encode_hello, { from = "me" })
  raises("not an integer of 32 bits", spop.int32, 2 ^ 31)
  raises("not an unsigned integer of 32 bits", spop.uint32, -1)
  raises("not an IPv6 address", spop.ipv6, "1.2.3.4")
  raises("not an integer of 64 bits", spop.int64, "9223372036854775808")
  raises("4 or 16 bytes expected, got 3", spop.ip_text, "abc")
  local agent = spop.agent()
  raises("spop.agent expected", agent.want, spop.client())
  raises("spop.agent expected, got nil", agent.feed, nil, "x")
  raises("a NOTIFY of feed() expected", agent.ack, agent, {})
  raises("a NOTIFY of this agent's feed() expected", agent.ack, agent, spop.decode(spop.encode_notify(1, 1, {}):sub(5)))
end)

test("256 arguments", function()
  local args = {}
  for i = 1, 256 do args[i] = { "a" .. i, i } end
  raises("more than 255 arguments", spop.encode_notify, 1, 1, { { "m", args } })
  args[256] = nil
  local message = assert(spop.decode(assert(spop.encode_notify(1, 1, { { "m", args } })):sub(5))):message("m")
  equal({ #message:list(), message.args.a255 }, { 255, 255 })
end)

test("integers of 64 bits are exact", function()
  local frame = spop.encode_notify(spop.uint64("18446744073709551615"), spop.uint64("9007199254740993"), { { "m", {
    { "min", spop.int64("-9223372036854775808") }, { "max", spop.int64("9223372036854775807") },
    { "big", spop.uint64("18446744073709551615") }, { "odd", spop.int64("9007199254740993") },
    { "small", -1 }, { "exact", 9007199254740992 },
  } } })
  local decoded = assert(spop.decode(frame:sub(5)))
  local message = decoded:message("m")
  equal(tostring(spop.uint64(decoded.stream_id)), "18446744073709551615")
  equal(tostring(spop.uint64(decoded.frame_id)), "9007199254740993")
  equal(tostring(spop.int64(message.args.min)), "-9223372036854775808")
  equal(tostring(spop.int64(message.args.max)), "9223372036854775807")
  equal(tostring(spop.uint64(message.args.big)), "18446744073709551615")
  equal(tostring(spop.int64(message.args.odd)), "9007199254740993")
  equal({ message.args.small, message.args.exact }, { -1, 9007199254740992 })
  if has_integers then
    equal({ message.args.min, message.args.big }, { math.mininteger, -1 })
  else
    equal({ type(message.args.odd), message.args.odd.type }, { "userdata", "int64" })
    assert(message.args.odd == spop.int64("9007199254740993"), "equal values are equal")
  end
  equal(spop.encode_notify(decoded.stream_id, decoded.frame_id, { { "m", message:list() } }), frame)
end)

test("typed values", function()
  local ip = spop.ipv4("192.0.2.17")
  equal({ ip.type, ip.value, tostring(ip), ip.other }, { "ipv4", "192.0.2.17", "192.0.2.17" })
  assert(ip == spop.ipv4("192.0.2.17") and ip ~= spop.ipv4("192.0.2.18"))
  assert(spop.int32(5) ~= spop.int64(5), "another type is another value")
  equal({ spop.binary("a\0b").value, tostring(spop.binary("a\0b")), spop.binary("").value }, { "a\0b", "a\0b", "" })
  equal({ spop.ip_bytes("1.2.3.4"), spop.ip_bytes("::1"), spop.ip_bytes("x") }, { "\1\2\3\4", ("\0"):rep(15) .. "\1" })
  equal({ spop.ip_text("\1\2\3\4"), spop.ip_text(("\0"):rep(15) .. "\1") }, { "1.2.3.4", "::1" })
  equal(getmetatable(ip), "spop.value")
end)

test("a frame that does not fit is no error of the script", function()
  refused(3, spop.encode_ack(1, 1, { { "set-var", "txn", "a", ("x"):rep(300) } }, 256))
  refused(3, spop.encode_notify(1, 1, { { "m", { a = ("x"):rep(16380) } } }))
  refused(3, spop.encode_frame(3, 1, 1, 1, "12345678", 8))
  local long = assert(spop.encode_notify(1, 1, { { "m", { a = ("x"):rep(100000) } } }, 1048576))
  equal(spop.peek_len(long), #long)
  equal(#assert(spop.decode(long:sub(5))):message("m").args.a, 100000)
  refused(3, spop.peek_len(long, 16380))
end)

test("actions that do not fit leave an empty ACK", function()
  local agent, client = pair({ max_frame_size = 256 })
  local event = notify(agent, client, { { "m" } })
  refused(3, agent:ack(event, { { "set-var", "txn", "a", 1 }, { "set-var", "txn", "b", ("x"):rep(300) } }))
  local ack = assert(client:feed(agent:output()))[1]
  equal({ ack.event, ack:actions() }, { "ack", {} })
  equal(agent:open(), 0)
  -- One that just fits goes out: header 7, action 3, name 2, type 1, length 2.
  event = notify(agent, client, { { "m" } })
  assert(agent:ack(event, { { "set-var", "txn", "a", ("x"):rep(256 - 15) } }))
  equal(#agent:output(), 260)
end)

test("wrong actions leave the NOTIFY open", function()
  local agent, client = pair()
  local event = notify(agent, client, { { "m" } })
  raises("actions[2]", agent.ack, agent, event, { { "set-var", "txn", "a", 1 }, 2 })
  equal({ agent:open(), agent:output() }, { 1, "" })
  equal(agent:ack(event), true)
  equal({ agent:ack(event) }, { nil, "this NOTIFY is not open any more" })
  local other = pair()
  raises("this agent's feed()", other.ack, other, event)
end)

test("a NOTIFY that is released is answered on another connection", function()
  local agent, client = pair({ capabilities = "pipelining,async" }, { capabilities = "pipelining,async" })
  local event = notify(agent, client, { { "m" } })
  equal({ agent:release(event) }, { event.stream_id, event.frame_id })
  equal({ agent:open(), agent:output() }, { 0, "" })
  equal({ agent:release(event) }, { nil, "this NOTIFY is not open any more" })
  local ack = assert(client:feed(spop.encode_ack(event.stream_id, event.frame_id)))[1]
  equal({ ack.event, ack.stream_id }, { "ack", event.stream_id })
  -- Where async was not agreed on it stays.
  agent, client = pair()
  event = notify(agent, client, { { "m" } })
  equal({ agent:release(event) }, { nil, "async was not agreed on" })
  equal(agent:ack(event), true)
  raises("this agent's feed()", agent.release, pair(), event)
end)

test("a later NOTIFY with the same ids supersedes the earlier", function()
  local agent, client = pair()
  assert(client:notify({ { "m" } }, 1, 1))
  local first = assert(agent:feed(client:output()))[1]
  client:forget(1, 1)
  assert(client:notify({ { "m" } }, 1, 1))
  local second = assert(agent:feed(client:output()))[1]
  equal({ agent:ack(first, { { "set-var", "txn", "a", 1 } }) }, { nil, "this NOTIFY is not open any more" })
  equal(agent:output(), "")
  equal(agent:ack(second), true)
  equal(agent:stats().superseded, 1)
end)

test("NOTIFYs beyond the bound wait", function()
  local agent = spop.agent()
  assert(agent:feed(spop.encode_hello({ from = "haproxy", capabilities = "pipelining" })))
  agent:output()
  local frames = {}
  for i = 1, 300 do frames[i] = spop.encode_notify(i, 1, { { "m", { i = i } } }) end
  local events, more = agent:feed(table.concat(frames))
  local answered = 0
  local rounds = 0
  while true do
    rounds = rounds + 1
    if more then equal({ #events, agent:want() }, { 128, 0, "pause" }) end
    for _, event in ipairs(events) do
      answered = answered + 1
      equal({ event.stream_id, event:message("m").args.i }, { answered, answered })
      assert(agent:ack(event))
    end
    if not more then break end
    events, more = agent:feed("")
  end
  equal({ answered, rounds, agent:want() }, { 300, 3, 4 })
end)

test("bytes fed against want() are bounded", function()
  local agent = spop.agent()
  assert(agent:feed(spop.encode_hello({ from = "haproxy", capabilities = "pipelining" })))
  for i = 1, 128 do assert(agent:feed(spop.encode_notify(i, 1, { { "m" } }))) end
  equal({ agent:want() }, { 0, "pause" })
  raises("too many bytes fed", function()
    for i = 1, 100 do agent:feed(spop.encode_notify(i, 2, { { "m", { a = ("x"):rep(16000) } } })) end
  end)
end)

test("output that nobody takes stops the reading", function()
  local agent = spop.agent()
  assert(agent:feed(spop.encode_hello({ from = "haproxy", capabilities = "pipelining" })))
  local big = { { "set-var", "txn", "a", ("x"):rep(16000) } }
  local rounds = 0
  while agent:want() > 0 do
    rounds = rounds + 1
    local event = assert(agent:feed(spop.encode_notify(rounds, 1, { { "m" } })))[1]
    assert(agent:ack(event, big))
    assert(rounds < 100, "the output has no bound")
  end
  equal({ agent:want() }, { 0, "pause" })
  assert(#agent:output() > 256 * 1024)
  assert(agent:want() > 0)
end)

test("a broken payload ends the connection with status 4", function()
  local agent = pair()
  refused(4, agent:feed(spop.encode_frame(spop.NOTIFY, spop.FIN, 1, 1, "\1m\2\1a\4\5\1b\10")))
  local frame = assert(spop.decode(agent:output():sub(5)))
  equal({ frame.type, frame:kv()[1][2] }, { spop.AGENT_DISCONNECT, 4 })
  equal({ agent:want() }, { 0, "close" })
  equal({ agent:feed("anything") }, { {}, false })
end)

test("a NOTIFY in fragments", function()
  local agent, client = pair({ max_frame_size = 512 }, { capabilities = "pipelining,async" })
  local body = ("0123456789"):rep(500)
  assert(client:notify({ { "m", { { "body", spop.binary(body) }, { "n", 7 } } } }))
  local bytes = client:output()
  assert(spop.peek_len(bytes) < #bytes, "several frames")
  local event = assert(agent:feed(bytes))[1]
  equal({ event.event, event.fragmented, event:message("m"):get("body", "n") }, { "notify", true, body, 7 })
  equal(agent:ack(event, { { "set-var", "txn", "ok", true } }), true)
  local ack = assert(client:feed(agent:output()))[1]
  equal(ack:actions(), { { "set-var", "txn", "ok", true, type = "bool" } })
  -- Beyond the bound of the agent: an empty ACK.
  assert(client:notify({ { "m", { body = ("x"):rep(70000) } } }))
  local events, more = agent:feed(client:output())
  equal({ #events, events[1].event, more }, { 1, "too-big", false })
  equal(assert(client:feed(agent:output()))[1]:actions(), {})
  -- Without memory for it nothing is announced, and the client says that it is too long.
  local small, other = pair({ max_frame_size = 512, reassembly = 0 })
  equal(small:negotiated().capabilities, { pipelining = true })
  refused(3, other:notify({ { "m", { body = body } } }))
end)

test("close", function()
  local agent, client = pair()
  local event = notify(agent, client, { { "m" } })
  agent:close()
  equal({ agent:output(), agent:want() }, { "", 0, "pause" })
  assert(agent:ack(event))
  local events = assert(client:feed(agent:output()))
  equal({ events[1].event, events[2].event, events[2].status }, { "ack", "disconnect", 0 })
  equal({ agent:want() }, { 0, "close" })
  equal({ client:want() }, { 0, "close" })
  agent, client = pair()
  client:close(99)
  events = assert(agent:feed(client:output()))
  equal({ events[1].event, events[1].status, events[1].message }, { "disconnect", 99, "unknown error" })
  agent, client = pair()
  notify(agent, client, { { "m" } })
  equal({ agent:eof(), client:eof() }, { 1, 1 })
end)

test("timeouts", function()
  local agent = spop.agent({ hello_timeout = 100 })
  equal({ agent:poll_timeout(), agent:handle_timeout(99) }, { 100, true })
  refused(2, agent:handle_timeout(100))
  local client = spop.client({ hello_timeout = 50 })
  equal(client:poll_timeout(), 50)
  refused(2, client:handle_timeout(50))
  equal(spop.client():poll_timeout(), nil)
end)

test("a health check", function()
  local agent, client = spop.agent(), spop.client({ healthcheck = true, engine_id = "x" })
  equal(assert(agent:feed(client:output()))[1].healthcheck, true)
  local hello = assert(client:feed(agent:output()))[1]
  equal({ hello.event, hello.healthcheck, hello.max_frame_size, hello.capabilities }, { "hello", true, 16380, {} })
  equal({ client:want() }, { 0, "close" })
end)

test("a client does not send what cannot be sent", function()
  local client = spop.client()
  equal({ client:notify({ { "m" } }) }, { nil, "the connection is not running" })
  local _, synchronous = pair({ capabilities = "fragmentation" })
  assert(synchronous:notify({ { "m" } }))
  equal({ synchronous:notify({ { "m" } }) }, { nil, "too many NOTIFYs are in flight" })
  raises("messages[1]", synchronous.notify, synchronous, { { 1 } })
end)

test("frames outlive their agent", function()
  local agent, client = pair()
  local message = notify(agent, client, { { "m", { a = "text" } } }):message("m")
  local args = message.args
  agent, client = nil, nil
  collectgarbage()
  collectgarbage()
  equal({ args.a, message.args.a, message:arg("a") }, { "text", "text", "text", "string" })
  equal(args.b, nil)
end)

test("a finalizer that uses an object in use", function()
  if not has_integers then return end -- LuaJIT's tables have no finalizers
  local agent, client = pair()
  local failures, runs = 0, 0
  local function trap()
    setmetatable({}, { __gc = function()
      runs = runs + 1
      if runs < 20000 then trap() end
      local ran, why = pcall(agent.feed, agent, "")
      if not ran then
        failures = failures + 1
        assert(why:find("cannot be used"), why)
      end
    end })
  end
  for _ = 1, 50 do trap() end
  collectgarbage("setpause", 10)
  for i = 1, 2000 do
    -- Of many lengths, so that the collector comes at every place there is.
    assert(client:notify({ { "m", { a = ("x"):rep(i) } } }))
    local event = assert(agent:feed(client:output()))[1]
    assert(event:message("m").args.a)
    assert(agent:ack(event))
    assert(client:feed(agent:output()))
  end
  runs = 1e9
  collectgarbage("setpause", 200)
  assert(failures > 0, "no finalizer came while the agent was in use: the test shows nothing")
end)

-- KiB of the process; 0 where that is not told.
local function resident()
  local file = io.open("/proc/self/statm")
  if not file then return 0 end
  local _, pages = file:read("*n", "*n")
  file:close()
  return pages * 4
end

test("agents that are over, or have nothing to do, hold no buffers", function()
  local count = os.getenv("FRAMES") and 100 or 2000
  local bytes = ("x"):rep(12000)
  -- The kept are what Lua's collector has not come to, as it is with the agents of a HAProxy whose heap is large.
  local function growth(use)
    local kept = {}
    for i = 1, 20 do kept[i] = use() end
    collectgarbage()
    local before = resident()
    for i = 21, count do kept[i] = use() end
    collectgarbage()
    return resident() - before, #kept -- it is there until now
  end
  local function answered(agent, client, messages)
    assert(agent:ack(notify(agent, client, messages), { { "set-var", "txn", "a", bytes } }))
    return agent:output()
  end
  local fragmented = { { "m", { body = bytes .. bytes .. bytes } } }
  local uses = {
    { "an open agent after fragments", function()
      local agent, client = pair()
      assert(agent:ack(notify(agent, client, fragmented)))
      agent:output()
      client:eof()
      return agent
    end },
    { "an agent whose stream ended within fragments", function()
      local agent, client = pair()
      assert(client:notify(fragmented))
      assert(agent:feed(client:output():sub(1, -2)))
      agent:eof()
      client:eof()
      return agent
    end },
    { "an agent that has sent its DISCONNECT", function()
      local agent, client = pair()
      client:feed(answered(agent, client, { { "m" } }))
      assert(client:notify({ { "m", { body = bytes } } }))
      assert(agent:feed(client:output():sub(1, -2)))
      agent:close()
      agent:output()
      client:eof()
      return agent
    end },
    { "a client", function()
      local agent, client = pair()
      assert(client:feed(answered(agent, client, { { "m", { body = bytes } } }):sub(1, -2)))
      agent:eof()
      client:eof()
      return client
    end },
  }
  for _, of in ipairs(uses) do
    local name, grown = of[1], (growth(of[2]))
    print(("%s: %d of them hold %d KiB"):format(name, count, grown))
    -- A buffer of 12,000 bytes in each is 23,000 KiB; Lua's own are counted as well.
    assert(grown < 16000, name .. ": the process grew")
  end
end)

test("memory is flat over 100,000 frames", function()
  local agent, client = pair()
  local function exchange(n)
    for i = 1, n do
      local event = notify(agent, client, { { "m", { { "ip", spop.ipv4("192.0.2.17") }, { "n", i } } } })
      local message = event:message("m")
      assert(agent:ack(event, { { "set-var", "sess", "n", message.args.n } }))
      local ack = assert(client:feed(agent:output()))[1]
      assert(ack:actions()[1][4] == i)
    end
    collectgarbage()
    collectgarbage()
    return collectgarbage("count")
  end
  local frames = tonumber(os.getenv("FRAMES") or 100000)
  local before, rss_before = exchange(frames / 10), resident()
  local after, rss_after = exchange(frames), resident()
  print(("memory over %d frames: Lua %.0f to %.0f KiB, process %d to %d KiB"):format(frames, before, after, rss_before, rss_after))
  assert(after < before + 16, "Lua's memory grew")
  -- Few frames say nothing about the process (valgrind).
  assert(frames < 100000 or rss_after < rss_before + 1024, "the process grew")
end)

if spop.panic then
  test("a panic is an error of the script's call", function()
    raises("the spop module panicked", spop.panic)
    assert(spop.decode(spop.encode_ack(1, 1):sub(5)))
  end)
end

suite.finish("api")
