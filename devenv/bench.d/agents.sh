# shellcheck shell=bash
# Agents alone under `spop load`, for devenv/bench.

# name: what it is. An agent is started by agent_NAME, which leaves its address in $ADDRESS and its pid in $PID.
AGENTS=(
    "bare:sockets, nothing decoded"
    "rust:ip_reputation, spop-agent"
    "c:ip_reputation.c, libspop"
    "lua:in HAProxy, module spop"
    "peer:the crate spop, tokio"
)
# name: options of `spop load`, connections and NOTIFYs in flight on each.
LOADS=(
    "1x1:-c 1 -i 1"
    "4x20:-c 4 -i 20"
    "64x8:-c 64 -i 8"
    "trace-4x32:-c 4 -i 32 --preset trace"
)
# NOTIFYs while system calls are counted.
COUNTED=20000

build_agents() {
    cargo build -q --release --locked -p spop-agent --example ip_reputation
    make -s -C spop-ffi
    BESIDE=$(bench_program spop-agent agents)
    C_AGENT=$TMP/ip_reputation
    cc -O2 -I include -o "$C_AGENT" "spop-ffi/examples/ip_reputation.c" "$(cargo_target_dir)/libspop/libspop.a"
}

# listening NAME COMMAND...: on a free port, which is added to the command.
listening() {
    ADDRESS=$(free_address)
    start "$@" "$ADDRESS"
    must_become_ready listens "$ADDRESS"
}

agent_bare() { listening bare "$BESIDE" bare --listen; }
agent_peer() { listening peer "$BESIDE" spop --listen; }
agent_rust() { listening rust "$PROGRAMS/examples/ip_reputation" --listen; }
agent_c() { listening c "$C_AGENT"; }

# With the module for the Lua of this HAProxy.
agent_lua() {
    local lua
    lua=$("$HAPROXY" -vv | sed -n 's/^Built with Lua version : Lua \(5\.[34]\).*/\1/p')
    [ -n "$lua" ] || { warn "HAProxy $(haproxy_version "$HAPROXY") has no Lua 5.3 or 5.4: without the agent in Lua"; return 1; }
    make -s -C spop-lua install LUA="$lua" DESTDIR="$TMP/lua" PREFIX=/usr >"$TMP/lua.log" 2>&1 ||
        { cat "$TMP/lua.log" >&2; fail "the Lua module cannot be built"; }
    ADDRESS=$(free_address)
    cat >"$TMP/lua.cfg" <<CONFIG
global
    nbthread 1
    tune.lua.service-timeout 0
    lua-prepend-path $TMP/lua/usr/lib/lua/$lua/?.so cpath
    lua-prepend-path $TMP/lua/usr/share/lua/$lua/?.lua
    lua-load-per-thread $DEVENV/bench.d/agent.lua
frontend agent
    mode tcp
    timeout client 60s
    bind $ADDRESS
    tcp-request content use-service lua.agent
CONFIG
    start lua "$HAPROXY" -db -f "$TMP/lua.cfg"
    must_become_ready listens "$ADDRESS"
}

declare -A AGENT_ADDRESS AGENT_PID

start_agents() {
    local name
    for name in "${AGENTS[@]%%:*}"; do
        "agent_$name" || continue
        AGENT_ADDRESS[$name]=$ADDRESS AGENT_PID[$name]=$PID
    done
}

# each_agent COMMAND...: for each agent and each load, with NAME-LOAD, address, pid and the load's options.
each_agent() {
    local agent load
    for load in "${LOADS[@]}"; do
        for agent in "${AGENTS[@]%%:*}"; do
            # shellcheck disable=SC2086 # options, separated by spaces
            [ -z "${AGENT_PID[$agent]:-}" ] || "$@" "$agent-${load%%:*}" "${AGENT_ADDRESS[$agent]}" "${AGENT_PID[$agent]}" ${load#*:}
        done
    done
}

round_of_agents() { each_agent load; }

# What is counted once: strace slows an agent down, and then more NOTIFYs stand in a socket at once.
count_agents() { each_agent count_system_calls; }

# count_system_calls NAME ADDRESS PID OPTION...
count_system_calls() {
    local name=$1 address=$2 pid=$3 tracer calls
    shift 3
    strace -q -c -f -U calls -S calls -p "$pid" -o "$TMP/strace.out" 2>"$TMP/strace.err" &
    tracer=$!
    if ! wait_for 5 is_traced "$pid"; then
        kill "$tracer" 2>/dev/null || true
        wait "$tracer" || true
        warn "strace cannot follow process $pid: $(head -n 1 "$TMP/strace.err")"
        return
    fi
    "$PROGRAMS/spop" load "$address" -q -n $COUNTED "$@" >"$TMP/load.out" 2>&1 || { cat "$TMP/load.out" >&2; fail "spop load: $name"; }
    kill -INT "$tracer"
    wait "$tracer" || true
    calls=$(awk '$2 == "total" { print $1 }' "$TMP/strace.out")
    keep "$name-calls" "$(divided %.2f "${calls:--}" $COUNTED)"
}
is_traced() { grep -q '^TracerPid:[[:space:]]*[1-9]' "/proc/$1/status"; }

table_of_agents() {
    local load agent name
    say "agents: CPU s per million ACKs, as a ratio to the bare loop, system calls per ACK"
    printf '%-28s %-11s %-26s %8s %8s %10s\n' agent load "CPU s per million ACKs" "to bare" calls "ACKs/s"
    for load in "${LOADS[@]%%:*}"; do
        for agent in "${AGENTS[@]}"; do
            name=${agent%%:*}-$load
            [ -n "${AGENT_PID[${agent%%:*}]:-}" ] || continue
            printf '%-28s %-11s %-26s %8s %8s %10s\n' "${agent#*:}" "$load" "$(spread "$name-cpu")" \
                "$(divided %.2f "$(median "$name-cpu")" "$(median "bare-$load-cpu")")" "$(median "$name-calls")" "$(median "$name-rate")"
        done
    done
}
