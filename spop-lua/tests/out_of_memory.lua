-- For out_of_memory.c: work() uses everything that allocates, beginning with `require`; rest() what is left of it when an
-- allocation failed.
local agent, client, frame, message

-- A stream for spop.service: its peer says hello, asks, and ends.
local function stream(spop)
  local input = spop.encode_hello({ from = "haproxy", capabilities = "pipelining" }) ..
    spop.encode_notify(1, 1, { { "m", { a = 1 } }, { "m", { a = 2 } }, { "unknown" } })
  return {
    receive = function(_, n)
      local data = input:sub(1, n)
      input = input:sub(n + 1)
      return data
    end,
    send = function() end,
  }
end

function work()
  local spop = require "spop"
  local args = { { "ip", spop.ipv4("192.0.2.17") }, { "text", ("x"):rep(300) }, { "n", 5 } }
  agent, client = spop.agent({ max_frame_size = 512 }), spop.client({ engine_id = "me" })
  agent:feed(client:output())
  client:feed(agent:output())
  client:notify({ { "m", args }, { "m", { k = true } } })
  client:notify({ { "m", { { "long", ("y"):rep(3000) } } } })
  local events = agent:feed(client:output())
  for _, event in ipairs(events) do
    frame = event
    for _, each in ipairs(event:messages()) do
      message = each
      each:list()
      each:get("ip", "text", "n")
      each:arg("ip")
      local _ = each.args.text
    end
    agent:ack(event, { { "set-var", "sess", "score", 42 }, { "unset-var", "txn", "old" } })
  end
  for _, event in ipairs(client:feed(agent:output())) do event:actions() end
  frame = spop.decode(spop.encode_notify(1, 1, { { "m", args } }):sub(5))
  frame:message("m")
  spop.encode_notify(1, 1, { { "m", { a = ("z"):rep(5000) } } })
  spop.encode_ack(1, 1, { { "set-var", "sess", "score", ("z"):rep(5000) } })
  spop.decode(spop.encode_hello({ from = "haproxy", capabilities = "pipelining" }):sub(5)):kv()
  spop.encode_disconnect(4)
  local _ = tostring(spop.uint64("18446744073709551615")) .. spop.ip_text("\1\2\3\4") .. agent:stats().acks
  agent:close(4)
  agent:feed("x")
  local service = require "spop.service"
  service.serve(stream(spop), { m = function(a) return { { "set-var", "txn", "a", a.a } } end }, { log = function() end })
  require "spop.client"
end

function rest()
  -- A `require` that was cut short can be done again.
  local spop = require "spop"
  assert(spop.decode(spop.encode_ack(1, 1):sub(5)).type == spop.ACK and spop.status.RESOURCES == 13 and spop._VERSION)
  if frame then local _ = frame.type, frame.stream_id, frame:messages() end
  if message then local _ = message.name, message:list(), message.args.text end
  -- An object that was cut short says so, and is collected all the same.
  local function try(f, ...)
    local ran, why = pcall(f, ...)
    if not ran and not why:find("cut short", 1, true) then error(why) end
  end
  if agent then
    try(agent.feed, agent, "x")
    try(agent.output, agent)
  end
  if client then try(client.output, client) end
  frame, message, agent, client = nil, nil, nil, nil
  collectgarbage()
end
