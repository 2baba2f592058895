# shellcheck shell=bash
# Requests through an HAProxy with one thread, untraced and traced, for devenv/bench.

# name: what it is. mode_NAME starts what the mode takes, and leaves in $ASKED the address that is asked, in $PROXY_PID the HAProxy,
# and in $AGENT the pids of its agents. Ratios are to the first mode.
MODES=(
    "untraced:without SPOE"
    "http:spoe-http.cfg, 2 spans"
    "nine:spoe.cfg, nine spans"
    "lean_ring:lean, lines by ring"
    "lean_udp:lean, lines by UDP"
    "log_only_ring:log-only, by ring"
    "log_only_udp:log-only, by UDP"
    # The floors of floors.sh.
    "notify:a NOTIFY with nothing"
    "line_ring:its own line, by ring"
    "line_udp:its own line, by UDP"
    "both_ring:both, by ring"
    "both_udp:both, by UDP"
)

mode_untraced() {
    proxy untraced spoe-http.cfg
    ASKED=$PLAIN AGENT=
}

mode_http() { traced_mode http spoe-http.cfg; }
mode_nine() { traced_mode nine spoe.cfg; }

mode_lean_ring() { line_mode lean_ring haproxy-lean.cfg ring@otel tcp; }
mode_lean_udp() { line_mode lean_udp haproxy-lean.cfg "" udp; }
mode_log_only_ring() { line_mode log_only_ring haproxy-log-only.cfg ring@otel tcp; }
mode_log_only_udp() { line_mode log_only_udp haproxy-log-only.cfg "" udp; }

# line_mode NAME CONFIGURATION LOG_TARGET SCHEME: ready once the agent has a whole line, in lean mode of a request that it was asked about.
# shellcheck disable=SC2034 # tracing_agent reads AGENT_OPTIONS
line_mode() {
    local log
    log=$(free_address)
    AGENT_OPTIONS=(--log-listen "$4://$log")
    tracing_agent "agent-$1"
    AGENT_OPTIONS=()
    AGENT=$PID ASKED=$(free_address)
    one_thread
    start "$1" env SERVICE_NAME="$1" SPOA_ADDRESS="$ADDRESS" LOG_ADDRESS="$log" LOG_TARGET="${3:-$log}" LISTEN_ADDRESS="$ASKED" \
        "$HAPROXY" -db -f "$TMP/one-thread.cfg" -f "$DEVENV/conf/$2"
    must_become_ready listens "$ASKED"
    PROXY_PID=$PID
    wait_for 20 has_lines_of "$2" || fail "$1: nothing is traced"
}
has_lines_of() {
    curl -s -o /dev/null "http://$ASKED/" && curl -s "http://$ADMIN/metrics" >"$TMP/metrics" &&
        grep -q '^spoa_log_requests_total{outcome="traced"} [1-9]' "$TMP/metrics" &&
        { [ "$1" = haproxy-log-only.cfg ] || grep -q '^spoa_messages_total [1-9]' "$TMP/metrics"; }
}

# traced_mode NAME SPOE_CFG: ready once the health check of the agent was answered and a request is traced.
traced_mode() {
    tracing_agent "agent-$1"
    AGENT=$PID SPOA_ADDRESS=$ADDRESS
    proxy "$1" "$2"
    ASKED=$TRACED
    wait_for 20 is_traced_by "$1" || fail "$1: nothing is traced"
}
is_traced_by() { curl -s -o /dev/null "http://$ASKED/" && tail -n 1 "$TMP/$1.out" | grep 'trace=[0-9a-f]' >/dev/null; }

# proxy NAME SPOE_CFG: with the configuration of the demonstration's HAProxy~2 and one thread; traced at $TRACED, untraced at $PLAIN.
proxy() {
    one_thread
    TRACED=$(free_address) PLAIN=$(free_address)
    start "$1" env SPOA_ADDRESS="${SPOA_ADDRESS:-127.0.0.1:1}" SPOE_CFG="$DEVENV/conf/$2" \
        PROXY2_ADDRESS="$TRACED" PROXY2_PLAIN_ADDRESS="$PLAIN" "$HAPROXY" -db -f "$TMP/one-thread.cfg" -f "$DEVENV/conf/haproxy-2.cfg"
    must_become_ready listens "$TRACED"
    PROXY_PID=$PID
}

one_thread() { printf 'global\n    nbthread 1\n' >"$TMP/one-thread.cfg"; }

declare -A MODE_ADDRESS MODE_PROXY MODE_AGENT

start_haproxy() {
    local name
    for name in "${MODES[@]%%:*}"; do
        "mode_$name"
        MODE_ADDRESS[$name]=$ASKED MODE_PROXY[$name]=$PROXY_PID MODE_AGENT[$name]=$AGENT
    done
}

# shellcheck disable=SC2086 # agents are none, one or two
round_of_haproxy() {
    local name proxy agent count
    for name in "${MODES[@]%%:*}"; do
        proxy=$(cpu_ms "${MODE_PROXY[$name]}") agent=$(cpu_ms ${MODE_AGENT[$name]})
        wrk -t 1 -c 16 -d "${LASTS}s" "http://${MODE_ADDRESS[$name]}/bench" >"$TMP/wrk.out"
        if grep -qE 'Socket errors|Non-2xx' "$TMP/wrk.out"; then
            cat "$TMP/wrk.out" >&2
            fail "requests failed: $name"
        fi
        count=$(awk '/requests in/ { print $1 }' "$TMP/wrk.out")
        keep "$name-requests" "$(awk '/Requests\/sec/ { print int($2) }' "$TMP/wrk.out")"
        keep "$name-proxy" "$(divided %.1f $((($(cpu_ms "${MODE_PROXY[$name]}") - proxy) * 1000)) "$count")"
        keep "$name-agent" "$(divided %.1f $((($(cpu_ms ${MODE_AGENT[$name]}) - agent) * 1000)) "$count")"
    done
}

# cpu_ms PID...: that they took until now, together. (Behind the name, which may hold spaces, fields 14 and 15 in ticks.)
cpu_ms() {
    local pid
    for pid; do sed 's/.*) //' "/proc/$pid/stat"; done |
        awk -v ticks="$(getconf CLK_TCK)" '{ all += $12 + $13 } END { printf "%d\n", all * 1000 / ticks }'
}

count_haproxy() { :; }

table_of_haproxy() {
    local mode name first=${MODES[0]%%:*}
    say "HAProxy $(haproxy_version "$HAPROXY"), one thread, 16 clients: requests per second, CPU µs per request"
    printf '%-28s %-26s %12s %12s %10s\n' mode "requests/s" "to untraced" "HAProxy µs" "agent µs"
    for mode in "${MODES[@]}"; do
        name=${mode%%:*}
        printf '%-28s %-26s %12s %12s %10s\n' "${mode#*:}" "$(spread "$name-requests")" \
            "$(divided %.2f "$(median "$name-requests")" "$(median "$first-requests")")" "$(median "$name-proxy")" "$(median "$name-agent")"
    done
}
