-- Receives COUNT bytes (or frames) in small pieces; spop-lua/test counts the instructions of COUNT and of 4 * COUNT: work
-- that grows with the square of what arrives shows there, on a machine of any speed.
--
--   lua tests/linear.lua CASE COUNT
local spop = require "spop"

local function connected()
  local agent = spop.agent({ reassembly = 4 * 1024 * 1024, max_fragments = 1024 * 1024 })
  local hello = { from = "haproxy", max_frame_size = 1024 * 1024, capabilities = "pipelining,fragmentation" }
  assert(agent:feed(spop.encode_hello(hello)))
  agent:output()
  return agent
end

-- One argument of so many bytes.
local function notify(bytes, stream_id)
  return spop.encode_notify(stream_id or 1, 1, { { "m", { a = ("x"):rep(bytes) } } }, 1024 * 1024)
end

-- Answers what came; how many NOTIFYs that were.
local function answer(agent, events)
  for _, event in ipairs(events) do
    assert(event.event == "notify", event.event)
    assert(event:messages()[1].args.a)
    assert(agent:ack(event))
  end
  agent:output()
  return #events
end

local cases = {}

-- A large frame in pieces of 64 bytes.
function cases.pieces(count)
  local agent, frame, answered = connected(), notify(count), 0
  for at = 1, #frame, 64 do answered = answered + answer(agent, (assert(agent:feed(frame:sub(at, at + 63))))) end
  return answered, 1
end

-- A NOTIFY in fragments of 64 bytes, each in two pieces.
function cases.fragments(count)
  local agent, payload, answered = connected(), notify(count):sub(4 + 1 + 4 + 1 + 1 + 1), 0
  for at = 1, #payload, 64 do
    local first, last = at == 1, at + 64 > #payload
    local frame = spop.encode_frame(first and spop.NOTIFY or spop.UNSET, last and spop.FIN or 0, 1, 1, payload:sub(at, at + 63))
    answered = answered + answer(agent, (assert(agent:feed(frame:sub(1, 7)))))
    answered = answered + answer(agent, (assert(agent:feed(frame:sub(8)))))
  end
  return answered, 1
end

-- Small frames in one string, and the half of one behind them.
function cases.frames(count)
  local agent, frames, answered = connected(), {}, 0
  for i = 1, count do frames[i] = notify(100, i) end
  local events, more = agent:feed(table.concat(frames) .. frames[1]:sub(1, 9))
  while true do
    answered = answered + answer(agent, (assert(events, more)))
    if not more then return answered, count end
    events, more = agent:feed("")
  end
end

local answered, wanted = cases[arg[1]](tonumber(arg[2]))
assert(answered == wanted, answered .. " NOTIFYs were handed out, not " .. wanted)
