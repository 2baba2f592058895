-- The agent in Lua that devenv/bench measures: inside HAProxy, by the module spop.
require("spop.service").register("agent", {
  ["*"] = function(args)
    if args.ip == "192.0.2.17" then return { { "set-var", "sess", "ip_score", 42 } } end
  end,
}, { capabilities = "pipelining" })
