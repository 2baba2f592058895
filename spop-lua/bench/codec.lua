-- The module against a codec in pure Lua, doing the same work in one run: decode a NOTIFY and read three of its arguments
-- (of `ip`: its one argument), then encode an ACK with one variable. Medians of several rounds, both sides alternating.
--
--     lua5.4 codec.lua VECTORS [ROUNDS]
--
-- Of the two pure Lua decoders the faster one counts. Exit code 1 if the module is below the wanted factors.

local here = arg[0]:match("^(.*)/") or "."
package.path = here .. "/?.lua;" .. here .. "/../tests/?.lua;" .. package.path
local spop = require "spop"
local pure = require "pure"
local vectors = require "vectors"

local rounds = tonumber(arg[2] or 9)

local cases = {
  ip = { message = "check-client-ip", args = { "ip", "ip", "ip" }, wanted = { ip = true }, factor = 2.5 },
  trace = { message = "on-frontend-http-request", args = { "id", "method", "path" }, factor = 3,
    wanted = { id = true, method = true, path = true } },
}

local function time(f, n)
  collectgarbage()
  local start = os.clock()
  for _ = 1, n do f() end
  return (os.clock() - start) / n * 1e9
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local failed = false
for _, reference in ipairs(vectors.read(arg[1], "reference")) do
  local case = assert(cases[reference.id], "no case for " .. reference.id)
  local body = vectors.unhex(reference.hex):sub(5)
  local name, a, b, c = case.message, table.unpack(case.args)
  local variable = reference.ack.name

  local contenders = {
    module = function()
      local frame = spop.decode(body)
      local message = frame:message(name)
      local x, y, z = message:get(a, b, c)
      return spop.encode_ack(frame.stream_id, frame.frame_id, { { "set-var", "sess", variable, 42 } }), x, y, z
    end,
    ["pure Lua, all arguments"] = function()
      local stream_id, frame_id, messages = pure.notify(body)
      local message = messages[1]
      local args = message[1] == name and message[2]
      local x, y, z = args[a], args[b], args[c]
      return pure.ack(stream_id, frame_id, { { "set-var", "sess", variable, 42 } }), x, y, z
    end,
    ["pure Lua, wanted arguments"] = function()
      local stream_id, frame_id, messages = pure.notify_wanted(body, case.wanted)
      local message = messages[1]
      local args = message[1] == name and message[2]
      local x, y, z = args[a], args[b], args[c]
      return pure.ack(stream_id, frame_id, { { "set-var", "sess", variable, 42 } }), x, y, z
    end,
  }

  local expected = { contenders.module() }
  local times = {}
  for contender, f in pairs(contenders) do
    local got = { f() }
    for i = 1, 4 do
      assert(got[i] ~= nil and got[i] == expected[i], contender .. " gives another result than the module")
    end
    times[contender] = {}
    time(f, 20000)
  end
  for _ = 1, rounds do
    for contender, f in pairs(contenders) do
      table.insert(times[contender], time(f, 50000))
    end
  end
  local best, module = math.huge, nil
  for contender, list in pairs(times) do
    local ns = median(list)
    print(("%-6s %-28s %7.0f ns"):format(reference.id, contender, ns))
    if contender == "module" then module = ns else best = math.min(best, ns) end
  end
  local verdict = best / module >= case.factor
  failed = failed or not verdict
  print(("%-6s %.2f times faster than the faster pure Lua (wanted: %.1f)%s"):format(reference.id, best / module,
    case.factor, verdict and "" or "  TOO SLOW"))
end
os.exit(failed and 1 or 0)
