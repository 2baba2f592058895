-- An SPOA inside HAProxy: rates client addresses. It answers the message `check-client-ip` with the variable
-- sess.<prefix>.ip_score: 42 for 192.0.2.17, else the sum of the address's bytes modulo 101.

local spop = require "spop"
local service = require "spop.service"

local function score(ip)
  if ip == "192.0.2.17" then return 42 end
  local sum = 0
  for _, byte in ipairs({ spop.ip_bytes(ip):byte(1, -1) }) do sum = sum + byte end
  return sum % 101
end

service.register("spoa", {
  ["check-client-ip"] = function(args)
    if args.ip then return { { "set-var", "sess", "ip_score", score(args.ip) } } end
  end,
})
