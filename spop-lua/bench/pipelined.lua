-- NOTIFYs per second on one pipelined connection, every answer compared:
--
--     pipelined.lua VECTORS ip|trace SECONDS PID NAME=PORT...
--
-- Three turns each, alternating; the medians, and the processor time that HAProxy (PID) took for a NOTIFY, kernel included.
-- 100 NOTIFYs are in flight at most, in two batches.
local here = arg[0]:match("^(.*)/") or "."
package.path = here .. "/../tests/?.lua;" .. package.path
local socket = require "socket"
local spop = require "spop"
local vectors = require "vectors"

local BATCH = 50

local reference
for _, v in ipairs(vectors.read(arg[1], "reference")) do
  if v.id == arg[2] then reference = v end
end
local payload = assert(spop.decode(vectors.unhex(reference.hex):sub(5))).payload
-- The services know one message, whose argument `ip` both references have.
local name = reference.messages[1].name
payload = "\15check-client-ip" .. payload:sub(#name + 2)

local function batch(first)
  local notifies, acks = {}, {}
  for i = 1, BATCH do
    notifies[i] = spop.encode_frame(spop.NOTIFY, spop.FIN, first + i, 1, payload)
    acks[i] = spop.encode_ack(first + i, 1, { { "set-var", "sess", "ip_score", 42 } })
  end
  return { table.concat(notifies), table.concat(acks) }
end
local batches = { batch(0), batch(BATCH) }

-- Processor time of HAProxy so far, in microseconds; a tick of Linux's /proc is 10 ms.
local function processor_time()
  local file = assert(io.open("/proc/" .. arg[4] .. "/stat"))
  local user, system = file:read("*a"):match("^.*%) " .. ("%S+ "):rep(11) .. "(%d+) (%d+)")
  file:close()
  return (user + system) * 10000
end

local function run(port, seconds)
  local connection = assert(socket.connect("127.0.0.1", port))
  connection:settimeout(10)
  connection:setoption("tcp-nodelay", true)
  assert(connection:send(spop.encode_hello({ from = "haproxy", capabilities = "pipelining" })))
  local prefix = assert(connection:receive(4))
  assert(connection:receive(spop.peek_len(prefix) - 4))
  local count, turn = 0, 1
  local start, time = socket.gettime(), processor_time()
  assert(connection:send(batches[1][1]))
  local elapsed
  repeat
    local current, following = batches[turn], batches[3 - turn]
    assert(connection:send(following[1]))
    local acks = assert(connection:receive(#current[2]))
    assert(acks == current[2], "a wrong answer")
    count = count + BATCH
    turn = 3 - turn
    elapsed = socket.gettime() - start
  until elapsed >= seconds
  assert(connection:receive(#batches[turn][2]))
  connection:close()
  return count / elapsed, (processor_time() - time) / count
end

local rates, times = {}, {}
for turn = 1, 3 do
  for i = 5, #arg do
    local who, port = arg[i]:match("^(.-)=(%d+)$")
    rates[who], times[who] = rates[who] or {}, times[who] or {}
    rates[who][turn], times[who][turn] = run(tonumber(port), tonumber(arg[3]))
  end
end
for i = 5, #arg do
  local who = arg[i]:match("^(.-)=")
  table.sort(rates[who])
  table.sort(times[who])
  print(("%-5s %-6s %7.0f NOTIFY/s (%.0f to %.0f), %.1f us of HAProxy's time each"):format(arg[2], who, rates[who][2],
    rates[who][1], rates[who][3], times[who][2]))
end
