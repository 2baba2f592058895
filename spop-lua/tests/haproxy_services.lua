-- Services that tests/wire.lua talks to.
local client = require "spop.client"
local service = require "spop.service"

local constant = { { "set-var", "txn", "constant", true } }

local handlers = {
  ["check-client-ip"] = function(args) return { { "set-var", "sess", "ip", args.ip } } end,
  size = function(args) return { { "set-var", "txn", "size", #args.body } } end,
  grow = function(args) return { { "set-var", "txn", "big", ("x"):rep(args.n) } } end,
  fail = function() error("on purpose") end,
  nonsense = function() return { { "set-var", "txn" } } end,
  wait = function(args)
    core.msleep(args.ms)
    return { { "set-var", "txn", "waited", args.ms } }
  end,
  -- Burns run time of Lua.
  burn = function(args)
    local finish = os.clock() + args.ms / 1000
    local turns = 0
    while os.clock() < finish do turns = turns + 1 end
    return { { "set-var", "txn", "turns", turns } }
  end,
  constant = function() return constant end,
  memory = function()
    collectgarbage()
    collectgarbage()
    return { { "set-var", "txn", "kib", math.floor(collectgarbage("count")) } }
  end,
}

-- Asks itself, with less patience than it takes to answer, and tells what came of it.
handlers.impatient = function(args)
  local connection = assert(client.connect("127.0.0.1", args.port, { timeout = 0.3 }))
  local told = {}
  for question, message in ipairs { { "wait", { ms = 1500 } }, { "constant" } } do
    local _, why, status = connection:notify(message[1], message[2])
    told[question] = { "set-var", "txn", "told" .. question, ("%s: %s"):format(status, why) }
  end
  return told
end

service.register("test", handlers, { capabilities = "pipelining" })
service.register("test-fragments", handlers)
