rockspec_format = "3.0"
package = "spop"
version = "scm-1"
-- For `luarocks make` in this folder, which does not fetch anything.
source = { url = "git+file://." }
description = {
  summary = "SPOP (HAProxy SPOE): codec, state machines, agents and clients in Lua",
  license = "MIT OR Apache-2.0",
}
dependencies = { "lua >= 5.1" }
build_dependencies = { "luarocks-build-rust-mlua" }
build = {
  type = "rust-mlua",
  -- The backend adds the feature of the Lua that it builds for.
  default_features = false,
  modules = { ["spop"] = "spop_lua" },
  target_path = "../target",
  install = {
    lua = { ["spop.service"] = "lua/spop/service.lua", ["spop.client"] = "lua/spop/client.lua" },
  },
}
