-- Sends HTTP requests with a certain concurrency and checks every answer:
--
--     http_load.lua PORT REQUESTS CONCURRENCY source|query
--
-- source: each request comes from another address of 127.0.0.0/24 and asks for the score of its client. query: each asks
-- for the score of another address, /?ip=…
local socket = require "socket"

local port, requests, concurrency, kind = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3]), arg[4]
local REQUEST_SECONDS = 10

local function score(a, b, c, d)
  if a == 192 and b == 0 and c == 2 and d == 17 then return 42 end
  return (a + b + c + d) % 101
end

-- One request as a coroutine that yields the socket and "r" or "w" to wait for.
local function request(i)
  local connection = socket.tcp()
  connection:settimeout(0)
  local path, wanted = "/", nil
  if kind == "source" then
    local last = i % 254 + 1
    assert(connection:bind("127.0.0." .. last, 0))
    wanted = score(127, 0, 0, last)
  else
    local ip = i % 10 == 0 and { 192, 0, 2, 17 } or { 10, i // 65536 % 256, i // 256 % 256, i % 256 }
    path, wanted = "/?ip=" .. table.concat(ip, "."), score(table.unpack(ip))
  end
  local connected, why = connection:connect("127.0.0.1", port)
  if not connected and why ~= "timeout" then return nil, "connect: " .. why end
  coroutine.yield(connection, "w")
  local sent
  sent, why = connection:send("GET " .. path .. " HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
  if not sent then return nil, "send: " .. why end
  local answer = {}
  while true do
    local data, what, partial = connection:receive(65536)
    answer[#answer + 1] = data or partial
    if what == "closed" then break end
    if what and what ~= "timeout" then return nil, "receive: " .. what end
    coroutine.yield(connection, "r")
  end
  connection:close()
  answer = table.concat(answer)
  local status, body = answer:match("^HTTP/1.1 (%d+) .-\r\n\r\n(.*)$")
  if status ~= "200" or body ~= wanted .. "\n" then
    return nil, ("request %d: wanted %d, got %q"):format(i, wanted, answer)
  end
  return true
end

local begun, right, failures = 0, 0, {}
local running = {} -- socket to { coroutine, "r" or "w", deadline }

local function step(thread)
  local ran, connection, wait = coroutine.resume(thread, begun)
  if coroutine.status(thread) ~= "dead" then
    running[connection] = { thread, wait, socket.gettime() + REQUEST_SECONDS }
  elseif ran and connection then
    right = right + 1
  else
    failures[#failures + 1] = ran and wait or connection
  end
end

local start = socket.gettime()
while true do
  local active = 0
  for _ in pairs(running) do active = active + 1 end
  while active < concurrency and begun < requests do
    begun = begun + 1
    step(coroutine.create(request))
    active = active + 1
  end
  if next(running) == nil then break end
  local readers, writers = {}, {}
  for connection, state in pairs(running) do
    table.insert(state[2] == "r" and readers or writers, connection)
  end
  local readable, writable = socket.select(readers, writers, 1)
  for _, list in ipairs({ readable, writable }) do
    for _, connection in ipairs(list) do
      local state = running[connection]
      running[connection] = nil
      step(state[1])
    end
  end
  local now = socket.gettime()
  for connection, state in pairs(running) do
    if now > state[3] then
      running[connection] = nil
      failures[#failures + 1] = "no answer in time"
    end
  end
end

print(("%d of %d answers right, concurrency %d, %.0f requests/s"):format(right, requests, concurrency,
  requests / (socket.gettime() - start)))
for i = 1, math.min(#failures, 5) do print("  " .. failures[i]) end
os.exit(right == requests and 0 or 1)
