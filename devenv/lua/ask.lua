-- An HTTP service in HAProxy that asks an SPOA for the score of an address: GET /?ip=192.0.2.17 gives the number.
-- The agent is the one that ASK_ADDRESS and ASK_PORT name.

local spop = require "spop"
local client = require "spop.client"

local address, port = os.getenv("ASK_ADDRESS") or "127.0.0.1", tonumber(os.getenv("ASK_PORT") or 12345)

local function ask(ip)
  local agent, why = client.connect(address, port, { timeout = 2 })
  if not agent then return nil, why end
  local actions, what = agent:notify("check-client-ip", { ip = ip })
  agent:close()
  if not actions then return nil, what end
  for _, action in ipairs(actions) do
    if action[3] == "ip_score" then return action[4] end
  end
  return nil, "the agent set no ip_score"
end

core.register_service("ask", "http", function(applet)
  local text = applet.qs:match("^ip=([%w.:]+)$")
  local ran, ip = pcall(text and text:find(":") and spop.ipv6 or spop.ipv4, text)
  local status, body = 400, "an address is needed: /?ip=192.0.2.17"
  if ran then
    local score, why = ask(ip)
    status, body = score and 200 or 502, score and tostring(score) or why
  end
  applet:set_status(status)
  applet:add_header("content-type", "text/plain")
  applet:add_header("content-length", tostring(#body + 1))
  applet:start_response()
  applet:send(body .. "\n")
end)
