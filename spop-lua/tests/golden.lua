-- Every golden vector: golden.lua VECTORS
local here = arg[0]:match("^(.*)/") or "."
package.path = here .. "/?.lua;" .. package.path
local spop = require "spop"
local suite = require "suite"
local vectors = require "vectors"
local test, equal, refused = suite.test, suite.equal, suite.refused
local hex, unhex = vectors.hex, vectors.unhex

local folder = assert(arg[1], "golden.lua VECTORS")
local count = 0
local function each(list, f)
  for _, vector in ipairs(list) do
    count = count + 1
    test(vector.id or vector.text, function() f(vector) end)
  end
end
local function read(name) return vectors.read(folder, name) end

local HELLO = unhex("0000004b0100000001000012737570706f727465642d76657273696f6e730803322e300e6d61782d6672616d652d73697a" ..
  "6503fcf0060c6361706162696c6974696573080a706970656c696e696e67")

-- What a vector's value is in Lua: text of the number, since a number of JSON is not exact.
local function as_text(value)
  if type(value) == "userdata" then return tostring(value) end
  if math.type and math.type(value) == "integer" then return ("%d"):format(value) end
  if type(value) == "number" then return ("%.0f"):format(value) end
  return value
end

local function wanted(kind, value)
  if value == vectors.null then return nil end
  if kind == "binary" or kind == "string-bytes" then return unhex(value) end
  -- Integers of 64 bits without a sign have one in Lua; LuaJIT gives a typed value.
  if kind == "uint64" and math.type then return as_text(spop.uint64(value).value) end
  return value
end

local function check_value(got, kind, value, what)
  local expected = wanted(kind, value)
  if type(expected) == "string" and kind:find("int") then got = as_text(got) end
  equal(got, expected, what)
end

-- varint.json, by way of stream-ids.
local varint = read("varint")
each(varint.valid, function(v)
  local id = spop.uint64(v.value)
  equal(tostring(id), v.value)
  local frame = assert(spop.encode_frame(spop.NOTIFY, spop.FIN, id, 1, ""))
  equal(hex(frame), ("%08x"):format(6 + v.len) .. "0300000001" .. v.hex .. "01")
  equal(tostring(spop.uint64(assert(spop.decode(frame:sub(5))).stream_id)), v.value)
end)
each(varint.invalid, function(v)
  refused(4, spop.decode(unhex("0300000001" .. v.hex)))
end)

-- typed.json, by way of an argument.
local function message_with(value_hex)
  return spop.decode(unhex("03000000010101" .. "016d" .. "01" .. "0161" .. value_hex))
end
local typed = read("typed")
each(typed.valid, function(v)
  local message = assert(message_with(v.hex):message("m"))
  local value, kind = message:arg("a")
  equal(kind, v.kind == "string-bytes" and "string" or v.kind)
  check_value(value, v.kind, v.value, v.id)
  local again = assert(spop.encode_notify(1, 1, { { "m", message:list() } }))
  equal(hex(again):sub(9), "03000000010101" .. "016d" .. "01" .. "0161" .. v.hex)
end)
each(typed.lenient, function(v)
  local value, kind = assert(message_with(v.hex):message("m")):arg("a")
  equal(kind, v.kind)
  check_value(value, v.kind, v.value, v.id)
end)
each(typed.invalid, function(v)
  local frame = assert(message_with(v.hex))
  refused(4, frame:message("m"))
  refused(4, frame:messages())
end)

-- frames_valid.json
local scope_names = { process = "proc", session = "sess", transaction = "txn", request = "req", response = "res" }
local function check_pairs(got, items, what)
  equal(#got, #items, what)
  for i, item in ipairs(items) do
    equal({ got[i][1], got[i].type }, { item[1], item[2] == "string-bytes" and "string" or item[2] }, what)
    check_value(got[i][2], item[2], item[3], what)
  end
end
local function check_payload(frame, payload)
  if payload.kind == "kv" then
    check_pairs(assert(frame:kv()), payload.items, "pairs")
  elseif payload.kind == "messages" then
    local messages = assert(frame:messages())
    equal(#messages, #payload.items)
    for i, item in ipairs(payload.items) do
      equal(messages[i].name, item.name)
      check_pairs(messages[i]:list(), item.args, item.name)
      for _, arg in ipairs(item.args) do
        equal(messages[i].args[arg[1]], (messages[i]:arg(arg[1])), arg[1])
      end
    end
    return assert(spop.encode_notify(frame.stream_id, frame.frame_id, (function()
      local list = {}
      for i, message in ipairs(messages) do list[i] = { message.name, message:list() } end
      return list
    end)()))
  elseif payload.kind == "actions" then
    local actions = assert(frame:actions())
    equal(#actions, #payload.items)
    for i, item in ipairs(payload.items) do
      equal({ actions[i][1], actions[i][2], actions[i][3] }, { item.action, scope_names[item.scope], item.name })
      if item.value then
        equal(actions[i].type, item.value[1])
        check_value(actions[i][4], item.value[1], item.value[2], item.name)
      end
    end
    return assert(spop.encode_ack(frame.stream_id, frame.frame_id, actions))
  else
    equal(hex(frame.payload), payload.hex)
  end
end
each(read("frames_valid"), function(v)
  local bytes = unhex(v.hex)
  equal(spop.peek_len(bytes), #bytes)
  local frame = assert(spop.decode(bytes:sub(5)))
  equal({ frame.type, frame.flags, as_text(frame.stream_id), as_text(frame.frame_id) },
    { v.type, v.flags, v.stream_id, v.frame_id })
  local again = check_payload(frame, v.payload)
  -- encode_ack and encode_notify write no other flags than FIN.
  if again and v.flags == 1 then equal(hex(again), v.hex) end
  equal(hex(assert(spop.encode_frame(v.type, v.flags, frame.stream_id, frame.frame_id, frame.payload))), v.hex)
end)

-- reference.json
each(read("reference"), function(v)
  local frame = assert(spop.decode(unhex(v.hex):sub(5)))
  check_payload(frame, { kind = "messages", items = v.messages })
  local value = { type = v.ack.type, "set-var", scope_names[v.ack.scope], v.ack.name, tonumber(v.ack.value) }
  equal(hex(assert(spop.encode_ack(frame.stream_id, frame.frame_id, { value }))), v.ack.hex)
end)

-- captured.json: real frames.
each(read("captured"), function(v)
  local bytes = unhex(v.hex)
  local frame = assert(spop.decode(bytes:sub(5)))
  local items = v.kind:find("^notify") and assert(frame:messages()) or assert(frame:kv())
  assert(#items > 0)
  equal(spop.encode_frame(frame.type, frame.flags, frame.stream_id, frame.frame_id, frame.payload), bytes)
end)

-- The state machines.
local function running_agent(capabilities, max_frame_size)
  local agent = spop.agent({ capabilities = capabilities, max_frame_size = max_frame_size or 16380 })
  local hello = HELLO
  if max_frame_size and max_frame_size ~= 16380 then
    hello = spop.encode_hello({ from = "haproxy", max_frame_size = max_frame_size, capabilities = "pipelining" })
  end
  equal(assert(agent:feed(hello))[1].event, "hello")
  agent:output()
  return agent
end
local function running_client(capabilities)
  local client = spop.client({ capabilities = capabilities })
  client:output()
  local hello = spop.encode_hello({ max_frame_size = 16380, capabilities = capabilities })
  equal(assert(client:feed(hello))[1].event, "hello")
  equal({ client:notify({ { "m" } }, 1, 1) }, { 1, 1 })
  client:output()
  return client
end
-- The machine has one DISCONNECT to send, and ends.
local function check_disconnect(machine, status, kind)
  local output = machine:output()
  equal(spop.peek_len(output), #output, "one frame")
  local frame = assert(spop.decode(output:sub(5)))
  equal(frame.type, kind)
  equal(assert(frame:kv())[1][2], status)
  equal({ machine:want() }, { 0, "close" })
end

local ONE = unhex("0000000a03000000010101016d00")
local at_agent = {
  incomplete = function(agent, bytes)
    equal({ agent:feed(bytes) }, { {}, false })
    assert(agent:want() > 0)
    equal(agent:output(), "")
  end,
  disconnect = function(agent, bytes, status)
    if status == 0 then
      equal(assert(agent:feed(bytes))[1].event, "disconnect")
    else
      refused(status, agent:feed(bytes))
    end
    check_disconnect(agent, status, spop.AGENT_DISCONNECT)
  end,
  ignore = function(agent, bytes)
    equal({ agent:feed(bytes) }, { {}, false })
    equal(agent:stats().ignored, 1)
    equal(assert(agent:feed(ONE))[1].event, "notify")
  end,
}
local at_client = {
  disconnect = function(client, bytes, status)
    refused(status, client:feed(bytes))
    check_disconnect(client, status, spop.HAPROXY_DISCONNECT)
  end,
  ignore = function(client, bytes, status)
    equal(client:feed(bytes), {})
    equal({ client:in_flight(), client:stats().ignored }, { 1, 1 })
    if status ~= vectors.null then
      local synchronous = running_client("")
      refused(status, synchronous:feed(bytes))
    end
    equal(assert(client:feed(spop.encode_ack(1, 1)))[1].event, "ack")
  end,
  accept = function(client, bytes, _, id)
    local event = assert(client:feed(bytes))[1]
    if event.event == "hello" then return end
    equal(event.event, "ack")
    local nothing, text, status, before = event:actions()
    refused(4, nothing, text, status)
    equal(#before, id == "h-ack-bad-scope" and 0 or 1)
  end,
}
each(read("frames_invalid"), function(v)
  if v.receiver == "agent" then
    local agent
    if v.state == "await-hello" then
      agent = spop.agent({ capabilities = "pipelining", max_frame_size = v.max_frame_size or 16380 })
    else
      local fragments = v.state == "running+fragmentation" and ",fragmentation" or ""
      agent = running_agent("pipelining" .. fragments, v.max_frame_size)
    end
    at_agent[v.outcome](agent, unhex(v.hex), v.status)
  else
    local client
    if v.state == "await-agent-hello" then
      client = spop.client()
      client:output()
    else
      client = running_client("pipelining")
    end
    at_client[v.outcome](client, unhex(v.hex), v.status, v.id)
  end
end)

-- sequences.json, whole and byte by byte.
local steps = {
  pending = function(_, events) equal(events, {}) end,
  notify = function(_, events, step)
    equal(#events, step.count or 1)
    for _, event in ipairs(events) do equal(event.event, "notify") end
    if step.payload then equal(hex(events[1].payload), step.payload) end
    if step.stream_id then
      equal({ as_text(events[1].stream_id), as_text(events[1].frame_id) }, { step.stream_id, step.frame_id })
    end
  end,
  aborted = function(_, events) equal({ #events, events[1].event }, { 1, "aborted" }) end,
  closed = function(agent, events)
    equal(events, {})
    equal({ agent:output(), (agent:want()) }, { "", 0 })
  end,
  ["hello-healthcheck"] = function(agent, events, step)
    equal({ events[1].event, events[1].healthcheck }, { "hello", true })
    equal(hex(agent:output()), step.reply)
    equal({ agent:want() }, { 0, "close" })
  end,
}
local function run(v, feed)
  local agent
  if v.steps[1].expect:find("^hello") then
    agent = spop.agent({ capabilities = table.concat(v.agent_capabilities, ",") })
  else
    agent = running_agent(table.concat(v.agent_capabilities, ","))
  end
  for _, step in ipairs(v.steps) do
    local events, text, status = feed(agent, unhex(step.rx))
    if step.expect == "disconnect" then
      if step.status == 0 then equal(events[1].event, "disconnect") else refused(step.status, events, text, status) end
      check_disconnect(agent, step.status, spop.AGENT_DISCONNECT)
    else
      steps[step.expect](agent, events, step)
    end
  end
end
each(read("sequences"), function(v)
  run(v, function(agent, bytes) return agent:feed(bytes) end)
  run(v, function(agent, bytes)
    local all = {}
    for i = 1, #bytes do
      local events, text, status = agent:feed(bytes:sub(i, i))
      if not events then return events, text, status end
      for _, event in ipairs(events) do all[#all + 1] = event end
    end
    return all
  end)
end)

-- grammar.json
local grammar = read("grammar")
each(grammar.supported_versions, function(v)
  local agent = spop.agent()
  local hello = spop.encode_hello({ from = "haproxy", version = v.text })
  if v.agent_replies == vectors.null then
    refused(8, agent:feed(hello))
  else
    equal(assert(agent:feed(hello))[1].event, "hello")
    equal(assert(spop.decode(agent:output():sub(5))):kv()[1][2], v.agent_replies)
  end
end)
each(grammar.capabilities, function(v)
  local agent = spop.agent({ capabilities = "pipelining,async" })
  local hello = assert(agent:feed(spop.encode_hello({ from = "haproxy", capabilities = v.text })))[1]
  local shared = {}
  for _, name in ipairs(v.set) do if name ~= "fragmentation" then shared[name] = true end end
  equal(hello.capabilities, shared)
end)
each(grammar.agent_version, function(v)
  local client = spop.client()
  client:output()
  local hello = spop.encode_hello({ version = v.text, max_frame_size = 16380 })
  if v["haproxy_2.6"] == "ok" then
    equal(assert(client:feed(hello))[1].event, "hello")
  else
    refused(8, client:feed(hello))
  end
end)

print("vectors: " .. count)
suite.finish("golden")
