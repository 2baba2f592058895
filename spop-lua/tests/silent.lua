-- Peers who just sit there do not keep HAProxy out: silent.lua PORT, of an agent that takes 256 connections and whose timeouts
-- are short.
local here = arg[0]:match("^(.*)/") or "."
package.path = here .. "/?.lua;" .. package.path
local socket = require "socket"
local spop = require "spop"
local client = require "spop.client"
local suite = require "suite"

local port = tonumber(arg[1])
local HELLO = spop.encode_hello({ from = "haproxy", capabilities = "pipelining" })

local function dial(bytes)
  local peer = assert(socket.connect("127.0.0.1", port))
  peer:settimeout(20)
  assert(peer:send(bytes))
  return peer
end

-- It asks as long as the agent reads, and reads nothing.
local function deaf()
  local peer = dial(HELLO)
  peer:settimeout(0.5)
  local asks = {}
  for i = 1, 1000 do asks[i] = spop.encode_notify(i, 1, { { "m" } }) end
  asks = table.concat(asks)
  local begun = socket.gettime()
  while peer:send(asks) do assert(socket.gettime() - begun < 30, "it takes everything") end
  return peer
end

suite.test("peers who are silent, in the middle of a frame, idle, or deaf", function()
  local peers = { deaf() }
  for i = 2, 256 do peers[i] = dial(({ "", HELLO:sub(1, 9), HELLO, HELLO .. HELLO:sub(1, 9) })[i % 4 + 1]) end
  local begun = socket.gettime()
  local hello
  repeat
    socket.sleep(0.1)
    hello = client.check("127.0.0.1", port)
  until hello or socket.gettime() - begun > 20
  assert(hello, "HAProxy is kept out")
  socket.sleep(3) -- the deaf one would be given time by reading
  for i = 1, #peers do
    peers[i]:settimeout(5)
    local _, why = peers[i]:receive("*a")
    assert(why ~= "timeout", i .. ": a peer is kept")
  end
end)

suite.finish("silent")
