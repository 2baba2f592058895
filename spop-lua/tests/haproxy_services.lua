-- Services that tests/wire.lua talks to.
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

service.register("test", handlers, { capabilities = "pipelining" })
service.register("test-fragments", handlers)
