# shellcheck shell=bash
# What a span takes in the agent for tracing, spoa-otel, for devenv/bench.

# name: what it is. The options of `spop load` are those that spans_NAME leaves in $MESSAGES, and the variables of its agent in $VARIABLES.
SETTINGS=(
    "one:one span, 4 attributes"
    "unsampled:the same, always_off"
    "request:spoe-http.cfg, 2 spans"
    "nine:nine spans"
    "hundred:one span, 100 attributes"
)
# NOTIFYs of two runs under callgrind: the difference is what those of the second one take more.
FEW=4000 MANY=12000

spans_one() {
    MESSAGES=(otel:request 'id=string:{seq}' "span=string:HTTP request" kind=string:server
        tag=string:http.request.method "=string:GET" tag=string:url.path "=string:/catalogue"
        tag=string:client.address "=ipv4:192.0.2.17" tag=string:server.port "=int64:443" status=int64:200 'finish=string:*')
}

spans_unsampled() {
    spans_one
    VARIABLES=(OTEL_TRACES_SAMPLER=always_off)
}

# What spoe-http.cfg sends in three NOTIFYs, in one.
spans_request() {
    local id=('id=string:{seq}' service=string:haproxy-1)
    MESSAGES=(otel:request "${id[@]}" extract=int32:0 "=null" "inject=string:Server session"
        "span=string:HAProxy session" kind=string:server tag=string:http.request.method "=string:GET" tag=string:url.scheme "=string:http"
        tag=string:url.path "=string:/hello" tag=string:server.address "=string:localhost" tag=string:server.port "=int32:8080"
        tag=string:client.address "=ipv4:192.0.2.17" tag=string:client.port "=int32:50594" tag=string:network.protocol.version "=string:1.1"
        tag=string:user_agent.original "=string:curl/7.88.1" tag=string:haproxy.frontend "=string:fe_main"
        tag=string:haproxy.unique_id '=string:{seq}'
        -- otel:forward "${id[@]}" "span=string:Server session" "child-of=string:HAProxy session" kind=string:client
        tag=string:http.request.method "=string:GET"
        -- otel:response "${id[@]}" "span=string:Server session" status=int32:200 tag=string:http.response.status_code "=int32:200"
        tag=string:server.address "=ipv4:127.0.0.1" tag=string:server.port "=int32:9000" tag=string:haproxy.backend "=string:be"
        tag=string:haproxy.server "=string:s1" "span=string:HAProxy session" status=int32:200
        tag=string:http.response.status_code "=int32:200" tag=string:haproxy.cache_hit "=bool:false" 'finish=string:*')
}

# The chain of spoe.cfg, in one message.
spans_nine() {
    local span before="HAProxy session"
    MESSAGES=(opentracing:message 'id=string:{seq}' "span=string:$before" tag=string:a "=string:b")
    for span in "Client session" "Frontend TCP request" "Frontend HTTP request" "Backend TCP request" "Backend HTTP request" \
        "Server session" "TCP response" "HTTP response"; do
        MESSAGES+=("span=string:$span" "follows-from=string:$before")
        before=$span
    done
    MESSAGES+=('finish=string:*')
}

spans_hundred() {
    local number
    MESSAGES=(otel:request 'id=string:{seq}' "span=string:HTTP request")
    for number in {1..100}; do MESSAGES+=("tag=string:attribute.$number" "=string:value $number"); done
    MESSAGES+=('finish=string:*')
}

# setting NAME: its MESSAGES and VARIABLES.
setting() {
    MESSAGES=() VARIABLES=()
    "spans_$1"
}

declare -A SPANS_ADDRESS SPANS_PID

# tracing_agent NAME VARIABLE...: spoa-otel with AGENT_OPTIONS at $ADDRESS, which sends to the origin and shows /traces at $ADMIN.
AGENT_OPTIONS=()
tracing_agent() {
    local name=$1
    shift
    ADDRESS=$(free_address) ADMIN=$(free_address)
    start "$name" env "$@" "$PROGRAMS/spoa-otel" --listen "$ADDRESS" --admin "$ADMIN" --otlp "http://$SERVER_ADDRESS" "${AGENT_OPTIONS[@]}"
    must_become_ready listens "$ADDRESS"
}

start_spans() {
    local name
    for name in "${SETTINGS[@]%%:*}"; do
        setting "$name"
        tracing_agent "spans-$name" "${VARIABLES[@]}"
        SPANS_ADDRESS[$name]=$ADDRESS SPANS_PID[$name]=$PID
    done
}

round_of_spans() {
    local name
    for name in "${SETTINGS[@]%%:*}"; do
        setting "$name"
        load "$name" "${SPANS_ADDRESS[$name]}" "${SPANS_PID[$name]}" --expect-nothing "${MESSAGES[@]}"
    done
}

# Instructions and allocations, of the whole agent, that do not depend on what else the machine does.
count_spans() {
    local name few many
    for name in "${SETTINGS[@]%%:*}"; do
        few=$(counted_agent "$name" $FEW)
        many=$(counted_agent "$name" $MANY)
        keep "$name-instructions" "$(divided %.0f $((${many% *} - ${few% *})) $((MANY - FEW)))"
        keep "$name-allocations" "$(divided %.2f $((${many#* } - ${few#* })) $((MANY - FEW)))"
    done
}

# counted_agent NAME NOTIFYS: the instructions and the allocations of an agent that answers so many.
counted_agent() {
    local callgrind=$TMP/callgrind.out
    setting "$1"
    ADDRESS=$(free_address)
    start callgrind env "${VARIABLES[@]}" valgrind --tool=callgrind --callgrind-out-file="$callgrind" \
        "$PROGRAMS/spoa-otel" --workers 1 --listen "$ADDRESS" --admin "$(free_address)" --otlp "http://$SERVER_ADDRESS"
    must_become_ready listens "$ADDRESS"
    "$PROGRAMS/spop" load "$ADDRESS" -q -c 1 -i 32 -n "$2" --timeout 60s --expect-nothing "${MESSAGES[@]}" >"$TMP/load.out" 2>&1 ||
        { cat "$TMP/load.out" >&2; fail "spop load: $1"; }
    kill -TERM "$PID"
    wait "$PID" || fail_with_log "$PID" "failed"
    # A name stands beside its number where it comes first.
    awk '
        /^summary:|^totals:/ { instructions = $2 }
        match($0, /^c?fn=\([0-9]+\)/) {
            function_is = substr($0, RSTART, RLENGTH)
            sub(/^c?fn=/, "", function_is)
            if ($2 ~ /^_rjem_(malloc|mallocx|calloc|realloc|rallocx|aligned_alloc|posix_memalign)$/) allocates[function_is] = 1
        }
        /^calls=/ && function_is in allocates { sub(/^calls=/, ""); allocations += $1 }
        END { printf "%d %d\n", instructions, allocations }
    ' "$callgrind"
}

table_of_spans() {
    local setting name
    say "spoa-otel: what a NOTIFY with these spans takes; CPU µs with 4 connections and 20 in flight, the rest by callgrind"
    printf '%-28s %-26s %12s %12s %10s\n' setting "CPU µs" instructions allocations "ACKs/s"
    for setting in "${SETTINGS[@]}"; do
        name=${setting%%:*}
        printf '%-28s %-26s %12s %12s %10s\n' "${setting#*:}" "$(spread "$name-cpu")" "$(median "$name-instructions")" \
            "$(median "$name-allocations")" "$(median "$name-rate")"
    done
}
