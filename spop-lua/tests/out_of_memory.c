/* Runs out_of_memory.lua again and again; each time one more allocation of Lua succeeds before all fail. Lua's errors then
 * jump over the module's Rust frames from every place that can raise one. Ends when nothing failed any more. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

static long left; /* allocations until the first that fails; below 0: none fails */

static void *allocate(void *unused, void *old, size_t old_size, size_t size) {
    (void)unused;
    if (size == 0) {
        free(old);
        return NULL;
    }
    if ((old == NULL || size > old_size) && left >= 0) {
        if (left == 0) return NULL;
        left--;
    }
    return realloc(old, size);
}

static void must(lua_State *L, int status, const char *what) {
    if (status == LUA_OK) return;
    fprintf(stderr, "%s: %s\n", what, lua_tostring(L, -1));
    exit(1);
}

int main(int argc, char **argv) {
    long failed = 0;
    if (argc != 2) return 2;
    for (long after = 0;; after++) {
        left = -1;
        lua_State *L = lua_newstate(allocate, NULL);
        luaL_openlibs(L);
        must(L, luaL_dofile(L, argv[1]), "load");
        lua_getglobal(L, "work");
        left = after;
        int status = lua_pcall(L, 0, 0, 0);
        long unused = left;
        left = -1;
        if (status != LUA_OK && status != LUA_ERRMEM) must(L, status, "work");
        failed += status == LUA_ERRMEM;
        lua_settop(L, 0);
        lua_getglobal(L, "rest");
        must(L, lua_pcall(L, 0, 0, 0), "rest");
        lua_close(L);
        if (unused > 0) break;
    }
    printf("out of memory: %ld failed allocations\n", failed);
    return failed > 20 ? 0 : 1;
}
