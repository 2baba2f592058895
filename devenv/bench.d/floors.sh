# shellcheck shell=bash
# What an event and a line cost HAProxy at the least, for devenv/bench: a NOTIFY without arguments to a bare loop over sockets, and HAProxy's
# own line, which every mode writes to standard output, to a receiver as well. No tracing by these means can keep more.

mode_notify() { floor_mode notify notify ""; }
mode_line_ring() { floor_mode line_ring "" ring@lines; }
mode_line_udp() { floor_mode line_udp "" udp; }
mode_both_ring() { floor_mode both_ring notify ring@lines; }
mode_both_udp() { floor_mode both_udp notify udp; }

# floor_mode NAME NOTIFY TARGET: with events if NOTIFY is not empty, with lines if TARGET is not.
# shellcheck disable=SC2034 # others read AGENT_OPTIONS and PROXY_PID
floor_mode() {
    local name=$1 notify=$2 target=$3 log scheme=udp
    AGENT='' SPOA_ADDRESS=127.0.0.1:1
    if [ -n "$notify" ]; then
        listening "bare-$name" "$BESIDE" bare --listen
        AGENT=$PID SPOA_ADDRESS=$ADDRESS
    fi
    log=$(free_address)
    if [ -n "$target" ]; then
        [ "$target" = udp ] || scheme=tcp
        AGENT_OPTIONS=(--log-listen "$scheme://$log")
        tracing_agent "lines-$name"
        AGENT_OPTIONS=()
        AGENT+=" $PID"
    fi
    [ "$target" != udp ] || target=$log
    ASKED=$(free_address)
    cat >"$TMP/$name.spoe" <<'CONFIG'
[floor]
spoe-agent floor
    messages nothing
    use-backend spoa
    timeout processing 1s
    option continue-on-error
    .if !version_atleast(3.1)
    timeout hello 1s
    timeout idle 20s
    .endif
spoe-message nothing
    event on-frontend-http-request
CONFIG
    cat >"$TMP/$name.cfg" <<CONFIG
global
    nbthread 1
    $([ -z "$target" ] || echo "log \"$target\" len 65535 format rfc5424 local0 info")
defaults http
    mode http
    option httplog
    timeout connect 2s
    timeout client 30s
    timeout server 30s
$([ "$target" != ring@lines ] || cat <<RING
ring lines
    format rfc5424
    maxlen 65535
    size 1048576
    timeout connect 2s
    timeout server 10s
    server lines "$log" log-proto octet-count
RING
)
frontend asked from http
    bind "$ASKED"
    log stdout format raw local0 info
    $([ -z "$target" ] || echo "log global")
    $([ -z "$notify" ] || echo "filter spoe engine floor config $TMP/$name.spoe")
    default_backend servers
backend servers from http
    server server "$SERVER_ADDRESS"
backend spoa from http
    .if version_atleast(3.1)
    mode spop
    .else
    mode tcp
    .endif
    server spoa "$SPOA_ADDRESS"
CONFIG
    start "$name" "$HAPROXY" -db -f "$TMP/$name.cfg"
    must_become_ready listens "$ASKED"
    PROXY_PID=$PID
}
