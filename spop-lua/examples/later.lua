-- An agent in plain Lua whose answers take time: each message says by `ms` after how many milliseconds it wants its answer,
-- sess.<prefix>.done. What waits here stands for a question to a database or to another service. With `option async` (HAProxy up
-- to 3.0) what a connection that is gone left open is answered on another one of its engine.
--
--   lua5.4 later.lua [PORT]        of 127.0.0.1; 12345 by default, 0 is a free one
local socket = require "socket"
local spop = require "spop"

local MAX_CONNECTIONS, MAX_JOBS = 256, 4096
local MAX_UNSENT = 64 * 1024 -- bytes that HAProxy does not read before nothing more is read from it
local HELLO_MS, HALF_FRAME_MS, IDLE_MS = 10000, 30000, 120000 -- those who just sit there make room for others
local WRITE_SECONDS = 30 -- a peer that takes nothing for so long is given up
local ORPHAN_SECONDS = 2 -- without a connection of its engine an answer waits for so long: HAProxy connects again
local DONE = { { "set-var", "sess", "done", true } }

local connections, jobs = {}, {}
local elsewhere, lost = 0, 0

local function close(connection)
  connection.closed = true
  connection.agent:eof() -- jobs know it yet, its buffers are not needed
  connection.socket:close()
  for i, other in ipairs(connections) do
    if other == connection then table.remove(connections, i) break end
  end
end

-- Adds to what is to be sent.
local function put(connection, bytes)
  if connection.unsent == "" then connection.progress = socket.gettime() end
  connection.unsent = connection.unsent .. bytes
end

-- HAProxy gives an event up after `timeout processing`, and the next one of its stream has the same ids, perhaps on another connection: with
-- `option async` an answer to the first would be taken for one to the second. So who waits under these ids is dropped.
local function forget(engine, notify)
  for i = #jobs, 1, -1 do
    local other = jobs[i].notify
    if jobs[i].connection.engine == engine and other.stream_id == notify.stream_id and other.frame_id == notify.frame_id then
      jobs[i].connection.agent:release(other) -- nil if it is gone, or void already
      table.remove(jobs, i)
      lost = lost + 1
    end
  end
end

-- Takes a NOTIFY over; false if too many wait already.
local function keep(connection, notify)
  if connection.engine then forget(connection.engine, notify) end
  if #jobs == MAX_JOBS then return false end
  local ms = 0
  for _, message in ipairs(notify:messages()) do
    local wanted = message.args.ms
    if type(wanted) == "number" then ms = ms + math.min(math.max(wanted, 0), 60000) end
  end
  jobs[#jobs + 1] = { connection = connection, notify = notify, due = socket.gettime() + ms / 1000 }
  return true
end

local function handle(connection, event)
  if event.event == "hello" then
    connection.engine = event.capabilities.async and event.engine_id
    connection.max_frame_size = event.max_frame_size
  elseif event.event == "notify" and not keep(connection, event) then
    connection.agent:ack(event) -- HAProxy gets an empty answer at once
  end
end

local function read(connection)
  local data, why, partial = connection.socket:receive(connection.agent:want())
  data = data or partial
  local more = data ~= ""
  while more do
    local events, left = connection.agent:feed(data)
    for _, event in ipairs(events or {}) do handle(connection, event) end
    data, more = "", events and left
    put(connection, connection.agent:output())
  end
  if why == "closed" then close(connection) end
end

local function write(connection)
  local last, why, sent = connection.socket:send(connection.unsent)
  last = last or sent
  if last > 0 then connection.progress = socket.gettime() end
  connection.unsent = connection.unsent:sub(last + 1)
  if why == "closed" then close(connection) end
end

-- Tells the agents the time, and closes what is over; the seconds until the next timeout, at most `timeout`.
local function watch(timeout)
  local now = socket.gettime()
  for i = #connections, 1, -1 do
    local connection = connections[i]
    local agent = connection.agent
    local ms = math.max(math.floor((now - connection.since) * 1000), 0)
    agent:handle_timeout(ms) -- if it is one, a DISCONNECT says so
    put(connection, agent:output())
    local due = agent:poll_timeout()
    if due then timeout = math.min(timeout, math.max(due - ms, 1) / 1000) end
    if connection.unsent ~= "" then
      local left = connection.progress + WRITE_SECONDS - now
      timeout = math.min(timeout, math.max(left, 0))
      if left <= 0 then close(connection) end
    elseif select(2, agent:want()) == "close" then
      close(connection)
    end
  end
  return timeout
end

-- Another living connection of the engine, for what one that is gone left open; not one that is ending: nothing follows a DISCONNECT.
local function other(engine)
  for _, connection in ipairs(connections) do
    if engine and connection.engine == engine and #connection.unsent < MAX_UNSENT and select(2, connection.agent:want()) ~= "close" then
      return connection
    end
  end
end

-- Answers a job that is due; false if it has to wait on.
local function answer(job, now)
  local connection, notify = job.connection, job.notify
  if not connection.closed then
    connection.agent:ack(notify, DONE)
    put(connection, connection.agent:output())
    return true
  end
  local on = other(connection.engine)
  if on then
    put(on, spop.encode_ack(notify.stream_id, notify.frame_id, DONE, on.max_frame_size))
    elsewhere = elsewhere + 1
  elseif connection.engine and now < job.due + ORPHAN_SECONDS then
    return false
  else
    lost = lost + 1
  end
  io.stderr:write(("later: %d answered elsewhere, %d lost\n"):format(elsewhere, lost))
  return true
end

-- Answers what is due; the seconds until the next one is.
local function answer_due()
  local now, waiting, timeout = socket.gettime(), {}, 1
  for _, job in ipairs(jobs) do
    if job.due > now or not answer(job, now) then
      waiting[#waiting + 1] = job
      timeout = math.min(timeout, math.max(job.due - now, 0.01))
    end
  end
  jobs = waiting
  return timeout
end

local listener = assert(socket.bind("127.0.0.1", tonumber(arg[1] or 12345)))
listener:settimeout(0)
print("listening on 127.0.0.1:" .. select(2, listener:getsockname()))
io.stdout:flush()

while true do
  local timeout = watch(answer_due())
  local readers, writers, of = { listener }, {}, {}
  for _, connection in ipairs(connections) do
    of[connection.socket] = connection
    if connection.unsent ~= "" then writers[#writers + 1] = connection.socket end
    if #connection.unsent < MAX_UNSENT and connection.agent:want() > 0 then readers[#readers + 1] = connection.socket end
  end
  local readable, writable = socket.select(readers, writers, timeout)
  for _, ready in ipairs(readable) do
    if ready ~= listener then
      read(of[ready])
    else
      local peer = listener:accept()
      if peer and #connections < MAX_CONNECTIONS then
        peer:settimeout(0)
        peer:setoption("tcp-nodelay", true)
        local agent = spop.agent {
          capabilities = "pipelining,async",
          hello_timeout = HELLO_MS, half_frame_timeout = HALF_FRAME_MS, idle_timeout = IDLE_MS,
        }
        connections[#connections + 1] = { socket = peer, agent = agent, unsent = "", engine = false, since = socket.gettime() }
      elseif peer then
        peer:close()
      end
    end
  end
  for _, ready in ipairs(writable) do
    if not of[ready].closed then write(of[ready]) end
  end
end
