-- An SPOA outside HAProxy that serves one connection after the other: plain_agent.lua PORT CONNECTIONS
local socket = require "socket"
local spop = require "spop"
local service = require "spop.service"

local listener = assert(socket.bind("127.0.0.1", tonumber(arg[1])))
for _ = 1, tonumber(arg[2]) do
  local connection = assert(listener:accept())
  connection:setoption("tcp-nodelay", true)
  service.serve(connection, {
    ["check-client-ip"] = function(args)
      local sum = 0
      for _, byte in ipairs({ spop.ip_bytes(args.ip):byte(1, -1) }) do sum = sum + byte end
      return { { "set-var", "sess", "ip_score", args.ip == "192.0.2.17" and 42 or sum % 101 } }
    end,
    fail = function() error("on purpose") end,
  }, { log = function(line) print(line) io.stdout:flush() end })
  connection:close()
end
