-- A test is a named function; a failed one is told with its traceback, and the exit code is 1.

local suite = { failed = 0, passed = 0 }

function suite.test(name, f)
  local ran, why = xpcall(f, debug.traceback)
  if ran then
    suite.passed = suite.passed + 1
  else
    suite.failed = suite.failed + 1
    print(("FAILED %s\n%s"):format(name, why))
  end
end

local function show(value)
  if type(value) ~= "table" then return ("%s (%s)"):format(tostring(value), type(value)) end
  local parts = {}
  for key, item in pairs(value) do parts[#parts + 1] = tostring(key) .. "=" .. show(item) end
  table.sort(parts)
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do if not same(value, b[key]) then return false end end
  for key in pairs(b) do if a[key] == nil then return false end end
  return true
end

function suite.equal(got, wanted, what)
  if not same(got, wanted) then
    error(("%s: got %s, wanted %s"):format(what or "value", show(got), show(wanted)), 2)
  end
end

-- f(...) raises an error whose text has `part` in it.
function suite.raises(part, f, ...)
  local ran, why = pcall(f, ...)
  if ran then error("no error was raised, wanted: " .. part, 2) end
  if type(why) ~= "string" or not why:find(part, 1, true) then
    error(("raised %s, wanted a text with: %s"):format(show(why), part), 2)
  end
end

-- What a function returned for a peer's fault: nil, a text, a status.
function suite.refused(status, nothing, text, got)
  if nothing ~= nil or type(text) ~= "string" or #text == 0 or got ~= status then
    error(("got %s, %s, %s, wanted nil, a text, %s"):format(show(nothing), show(text), show(got), show(status)), 2)
  end
end

function suite.finish(name)
  print(("%s: %d passed, %d failed"):format(name, suite.passed, suite.failed))
  os.exit(suite.failed == 0 and suite.passed > 0 and 0 or 1, true)
end

return suite
