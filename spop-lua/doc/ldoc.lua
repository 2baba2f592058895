-- Turns annotations of lua-language-server into those of LDoc, so that one description serves editors and pages:
--
--   lua5.4 ldoc.lua MODULE FILE        prints the source of MODULE's page
--
-- `make -C spop-lua doc` calls it for each module and runs ldoc.
local module, path = arg[1], arg[2]
if not path then
  io.stderr:write("usage: lua5.4 ldoc.lua MODULE FILE\n")
  os.exit(2)
end

-- A type as LDoc understands it, what follows it, and the type itself if LDoc's says less.
local function split_type(text)
  local depth, at = 0, 1
  while at <= #text do
    local char = text:sub(at, at)
    if char:find("[<({%[]") then
      depth = depth + 1
    elseif char:find("[>)}%]]") then
      depth = depth - 1
    elseif char == " " and depth == 0 and text:sub(at - 1, at - 1) ~= ":" then
      break
    end
    at = at + 1
  end
  local kind, rest = text:sub(1, at - 1), text:sub(at + 1)
  local simple = kind:find("^fun%(") and "function" or kind:find("[{<(]") and "table"
  if simple then return simple, ("%s `%s`"):format(rest, kind) end
  return (kind:gsub("^([^|]+)%?$", "?%1")), rest
end

-- The tags of one block of annotations, and its description.
local function read_block(lines)
  local block = { text = {}, tags = {}, fields = {} }
  for _, line in ipairs(lines) do
    local tag, rest = line:match("^%-%-%-@(%w+)%s*(.*)$")
    local name, kind, description
    if tag == "param" or tag == "field" then
      local optional
      name, optional, rest = rest:match("^([^%s?]+)(%??)%s+(.*)$")
      kind, description = split_type(rest)
      if tag == "param" then
        local modifier = (optional == "?" or name == "...") and "[opt]" or ""
        table.insert(block.tags, ("@tparam%s %s %s %s"):format(modifier, kind, name, description))
      else
        local why = optional == "?" and "(optional) " or ""
        table.insert(block.fields, ("@field %s %s%s; %s"):format(name:gsub("[%[%]]", ""), why, kind, description))
      end
    elseif tag == "return" then
      kind, description = split_type(rest)
      table.insert(block.tags, ("@treturn %s %s"):format(kind, description))
    elseif tag == "class" then
      name, description = rest:gsub(":%s*%S+", ""):match("^(%S+)%s*(.*)$") -- without its parent
      block.class = name
      -- What stands before it is for editors.
      block.text = { description }
    elseif tag == "alias" then
      name, description = rest:match("^(%S+)%s+(.*)$")
      block.alias = ("`%s`: `%s`."):format(name, description)
    elseif not tag then
      table.insert(block.text, (line:gsub("^%-%-%-?%s?", "")))
    end
  end
  return block
end

local header, functions, tables, types, aliases = {}, {}, {}, {}, {}
local methods_of = {}

local function add_function(block, signature)
  local owner, sign, name, parameters = signature:match("^function ([%w_.]-)([.:]?)([%w_]+)(%b())")
  local item = { block = block, name = name, parameters = parameters }
  if sign == ":" and methods_of[owner] then
    table.insert(methods_of[owner], item)
  else
    item.name = module .. "." .. name
    table.insert(functions, item)
  end
end

local pending, begun = {}, false
local function finish(line)
  if #pending == 0 and not (line and line:find("^function")) then return end
  local block = read_block(pending)
  pending = {}
  if line and line:find("^function") then
    add_function(block, line)
  elseif block.class then
    local variable = line and line:match("^local ([%w_]+) = ")
    if block.class == "spop" then
      table.insert(tables, { block = block, name = "constants" })
    elseif variable and variable ~= module:match("%w+$") then
      methods_of[variable] = {}
      table.insert(types, { block = block, name = block.class, methods = methods_of[variable] })
    else
      table.insert(tables, { block = block, name = block.class })
    end
  elseif block.alias then
    table.insert(aliases, block)
  elseif not begun then
    header = block.text
  end
  begun = true
end

for line in io.lines(path) do
  if line:find("^%-%-") and not line:find("^%-%-%-@meta") then
    -- An alias is one line; what stands before it describes it.
    table.insert(pending, line)
    if line:find("^%-%-%-@alias") then finish() end
  else
    finish(line)
  end
end
finish()

-- Underscores outside of code are no emphasis.
local function escaped(text)
  local code = false
  return (text:gsub("[`_]", function(char)
    if char == "`" then code = not code end
    return char == "_" and not code and "\\_" or char
  end))
end

local function write(...) io.write(...) io.write("\n") end
local function write_item(block, ...)
  local text = table.concat(block.text, "\n-- ")
  if text == "" then error(("%s: without a description: %s"):format(path, (...)), 0) end
  write("\n--- ", escaped(text))
  for _, list in ipairs({ block.tags, block.fields, { ... } }) do
    for _, tag in ipairs(list) do write("-- ", tag) end
  end
end

write("--- ", escaped(table.concat(header, "\n-- ")))
for _, alias in ipairs(aliases) do write("--\n-- ", alias.alias, " ", escaped(table.concat(alias.text, "\n-- "))) end
write("-- @module ", module)
for _, item in ipairs(functions) do write_item(item.block, "@function " .. item.name) end
for _, item in ipairs(tables) do write_item(item.block, "@table " .. item.name) end
for _, kind in ipairs(types) do
  write_item(kind.block, "@type " .. kind.name)
  for _, item in ipairs(kind.methods) do write_item(item.block, "@function " .. item.name) end
end
