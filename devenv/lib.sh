# shellcheck shell=bash
# Shared by the scripts of this folder: `. "$(dirname "$0")/lib.sh"`. It sets `set -euo pipefail`, says what it does, asks nothing,
# and ends by itself, at exit, every process begun with `start`, with the folder $TMP.
set -euo pipefail

DEVENV=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(dirname "$DEVENV")
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # a user's PATH has no HAProxy on Debian
TMP=$(mktemp -d "${TMPDIR:-/tmp}/spop.XXXXXX")
STARTED=() # pids, oldest first
declare -A NAMES # of these pids
# What is started here talks over loopback, whatever proxy the user's environment names.
export no_proxy="127.0.0.1,localhost${no_proxy:+,$no_proxy}" NO_PROXY="127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}"
readonly OUT_OF_REACH=75 # unpack-deb: the packages cannot be had from here
readonly HAPROXY_SUITES=(trixie forky experimental) # of Debian, with HAProxy 3.0, 3.2 and 3.4
readonly HAPROXY_OLDEST=2.6                         # that everything works with: Debian 12's

say() { printf '==> %s\n' "$*"; }
warn() { printf 'WARNING: %s\n' "$*" >&2; }
fail() { printf 'ERROR: %s\n' "$*" >&2; exit 1; }

# Ends what was started, the newest first, each by its pid: SIGTERM, then SIGKILL after five seconds.
stop_all() {
    local i pid
    for ((i = ${#STARTED[@]} - 1; i >= 0; i--)); do
        pid=${STARTED[i]}
        kill -TERM "$pid" 2>/dev/null || continue
        wait_for 5 not_running "$pid" || kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    STARTED=()
}
not_running() { ! kill -0 "$1" 2>/dev/null; }

clean_up() {
    local status=$?
    trap '' INT TERM HUP # a second Ctrl-C would leave what is not stopped yet
    trap - EXIT
    stop_all
    rm -rf "$TMP"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# wait_for SECONDS COMMAND...: until COMMAND succeeds; false when the time is over.
wait_for() {
    local end=$((SECONDS + $1 + 1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

# start NAME COMMAND...: in the background, with its output in $TMP/NAME.out and its messages in $TMP/NAME.err; the pid is $PID.
# In a session of its own, so that Ctrl-C reaches this script alone and everything is stopped in order.
start() {
    local name=$1
    shift
    setsid "$@" >"$TMP/$name.out" 2>"$TMP/$name.err" </dev/null &
    PID=$!
    STARTED+=("$PID")
    NAMES[$PID]=$name
}

# must_become_ready COMMAND...: waits for COMMAND, at most 20 seconds, after a `start`; if that process dies or is not ready by then,
# shows what it wrote and ends.
must_become_ready() {
    wait_for 20 ready_or_dead "$@" || fail_with_log "$PID" "did not start"
    not_running "$PID" && fail_with_log "$PID" "did not start"
    return 0
}
ready_or_dead() { not_running "$PID" || "$@"; }

# fail_with_log PID WHAT: ends, showing the last lines that the process wrote.
fail_with_log() {
    local name=${NAMES[$1]}
    tail -n 20 "$TMP/$name.err" "$TMP/$name.out" | sed 's/^/    /' >&2
    fail "$name $2 (its last lines are above)"
}

# tell_progress LOG PATTERN THINGS: says every ten seconds how many lines of LOG match PATTERN, until stop_all.
tell_progress() {
    local second
    for ((second = 1; ; second++)); do
        sleep 1 >/dev/null 2>&1 # it may outlive this loop by a second: nobody shall wait for it
        [ $((second % 10)) -ne 0 ] || say "still building: $(grep -c "$2" "$1") $3 after $second s"
    done &
    STARTED+=($!)
}

# reach ADDRESS: the same with a host to connect to, where ADDRESS is one to listen on (":80", "*:80").
reach() {
    case $1 in
    :* | \** | 0.0.0.0:*) echo "127.0.0.1:${1##*:}" ;;
    *) echo "$1" ;;
    esac
}

# listens ADDRESS: somebody accepts TCP connections there.
listens() {
    local address
    address=$(reach "$1")
    (exec 3<>"/dev/tcp/${address%:*}/${address##*:}") 2>/dev/null
}

# free_address: a loopback address at which nobody listens, and that was not given away before.
free_address() {
    local port
    while port=$((20000 + RANDOM % 12000)); do
        listens "127.0.0.1:$port" || grep -qsx "$port" "$TMP/ports" || break
    done
    echo "$port" >>"$TMP/ports"
    echo "127.0.0.1:$port"
}

# need_free ADDRESS WHAT HOW: ends with a clear word if ADDRESS cannot be bound; HOW says what the user can do about it.
need_free() {
    local port=${1##*:} first_free
    case $port in
    '' | *[!0-9]*) fail "$1: '$port' is not a port number ($2)" ;;
    esac
    if [ "$port" -lt 1 ] || [ "$port" -gt 65535 ]; then
        fail "$1: a port is a number from 1 to 65535 ($2)"
    fi
    first_free=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 1024)
    if [ "$port" -lt "$first_free" ] && [ "$(id -u)" -ne 0 ]; then
        fail "port $port ($2) is reserved for root, as are all below $first_free; $3"
    fi
    if listens "$1"; then
        fail "port $port ($2) is in use by another program (ss -ltnp shows which); stop it, or $3"
    fi
}

# need_packages WORD...: a WORD is `command` or `command=package package...`; the packages of the missing commands are installed
# with apt-get, as root or by `sudo -n`; if neither is possible, the command to run is shown. Not for packages that bring a service
# (for HAProxy there is need_haproxy).
need_packages() {
    local word missing=() sudo=()
    for word in "$@"; do
        # shellcheck disable=SC2206 # the packages of one word are separated by spaces
        command -v "${word%%=*}" >/dev/null || missing+=(${word#*=})
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "these are missing, and there is no apt-get here: ${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        sudo=(sudo -n)
        sudo -n true 2>/dev/null || fail "some packages are missing; run this, then start again:
    sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
    fi
    say "installing: ${missing[*]}"
    local log=$TMP/apt.log
    # A third-party source that fails to update is no reason to give up.
    "${sudo[@]}" apt-get -q update >"$log" 2>&1 || true
    if ! "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
        sed 's/^/    /' "$log" >&2
        fail "apt-get could not install: ${missing[*]} (its messages are above)"
    fi
}

# haproxy_of_suite SUITE: prints the path of that Debian suite's HAProxy (see haproxy-deb); status 75 if it cannot be had from here.
haproxy_of_suite() { "$DEVENV/haproxy-deb" "$1"; }

# from_here PATHS: paths of programs, separated by commas, as they are from any folder. What has no slash is looked for in PATH.
from_here() {
    local i paths
    IFS=, read -ra paths <<<"$1"
    for i in "${!paths[@]}"; do
        [[ ${paths[i]} != */* ]] || paths[i]=$(realpath -sm "${paths[i]}")
    done
    (IFS=, && echo "${paths[*]}")
}
[ -z "${SPOP_HAPROXY:-}" ] || SPOP_HAPROXY=$(from_here "$SPOP_HAPROXY")

# all_haproxys: sets HAPROXYS to the HAProxys to test with: those of SPOP_HAPROXY (paths, separated by commas), else this machine's and
# those of HAPROXY_SUITES, each version once. Says SKIPPED of those that cannot be had from here.
all_haproxys() {
    local suite path version versions status
    if [ -n "${SPOP_HAPROXY:-}" ]; then
        IFS=, read -ra HAPROXYS <<<"$SPOP_HAPROXY"
        for path in "${HAPROXYS[@]}"; do
            version=$(haproxy_version "$path" 2>/dev/null) || version=
            [ -n "$version" ] || fail "$path is not an HAProxy that runs here"
        done
        return
    fi
    need_haproxy ""
    HAPROXYS=("$HAPROXY")
    versions=" $(haproxy_version "$HAPROXY") "
    for suite in "${HAPROXY_SUITES[@]}"; do
        status=0
        path=$(haproxy_of_suite "$suite") || status=$?
        case $status in
        0)
            version=$(haproxy_version "$path")
            [[ $versions != *" $version "* ]] || continue
            versions+="$version "
            HAPROXYS+=("$path")
            ;;
        "$OUT_OF_REACH") echo "SKIPPED: HAProxy of Debian $suite: its packages cannot be had from here" ;;
        *) fail "devenv/haproxy-deb $suite failed" ;;
        esac
    done
}

# promtool: prints the path of Prometheus's tool, this machine's or one unpacked beside it, since the package would start a service;
# status 75 if it cannot be had from here.
promtool() { type -P promtool || "$DEVENV/unpack-deb" --alone prometheus usr/bin/promtool --version; }

# backends [--cached] [NAME...]: exports SPOP_COLLECTOR, SPOP_JAEGER and SPOP_PROMETHEUS, as far as they are here or can be had: devenv/backends.
backends() {
    local name path status=0
    "$DEVENV/backends" "$@" >"$TMP/backends" || status=$?
    while read -r name path; do export "SPOP_${name^^}=$path"; done <"$TMP/backends"
    case $status in
    0 | "$OUT_OF_REACH") ;;
    *) fail "devenv/backends failed" ;;
    esac
}

# need_haproxy [PATH]: sets HAPROXY to PATH, else to the HAProxy of this machine, else to one unpacked beside it.
need_haproxy() {
    if [ -n "${1:-}" ]; then
        HAPROXY=$(command -v "$1") || fail "$1 is not a program"
    elif ! HAPROXY=$(command -v haproxy); then
        HAPROXY=$(haproxy_of_suite system) || fail "HAProxy is missing and could not be fetched; install it or give --haproxy PATH"
    fi
    local version
    version=$(haproxy_version "$HAPROXY") || version=
    [ -n "$version" ] || fail "$HAPROXY is not an HAProxy that runs here; install one or give --haproxy PATH"
    at_least "$HAPROXY_OLDEST" "$version" ||
        fail "HAProxy $version is too old, $HAPROXY_OLDEST or newer is needed: --haproxy \"\$(devenv/haproxy-deb trixie)\" takes that of Debian 13"
}

# at_least WANTED VERSION
at_least() { printf '%s\n%s\n' "$1" "$2" | sort -V -C; }

# haproxy_version PROGRAM: 2.6.12
haproxy_version() { "$1" -v | sed -n '1s/^HAProxy version \([0-9.]*\).*/\1/p'; }

# matrix SUITE HAPROXY RESULT: a line for devenv/matrix, in the file that SPOP_MATRIX names.
matrix() {
    [ -z "${SPOP_MATRIX:-}" ] || printf '%s\t%s\t%s\t%s\n' "$1" "$("$2" -v | awk '{ print $3; exit }')" "$(date -u +%F)" "$3" >>"$SPOP_MATRIX"
}

# need_rust: cargo is there and not older than the highest rust-version of the workspace.
need_rust() {
    local have need
    command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    command -v cargo >/dev/null || fail "Rust is missing; see https://rustup.rs/"
    need=$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$REPO/Cargo.toml" "$REPO"/*/Cargo.toml | sort -V | tail -n 1)
    have=$(cd "$REPO" && rustc --version | sed -n 's/^rustc \([0-9.]*\).*/\1/p')
    if ! at_least "${need:-0}" "$have"; then
        fail "Rust $have is too old, this needs $need or newer: run 'rustup update stable' (Debian's rustc may be too old)"
    fi
}

# cargo_target_dir: where cargo puts what it builds.
cargo_target_dir() {
    (cd "$REPO" && cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
}

# publish_order: the packages that are published, each before those that depend on it.
publish_order() {
    cargo metadata --format-version 1 --no-deps --locked | jq -r '
        [.packages[] | select(.publish == null)] as $all | ($all | map(.name)) as $names
        | $all | map({name, needs: [.dependencies[] | select(.kind != "dev") | .name | select(. as $n | $names | index($n))] | unique})
        | [., []] | until(.[0] == [];
            .[1] as $done | (.[0] | map(select(.needs - $done == [])) | map(.name) | sort) as $next
            | [(.[0] | map(select(.name as $n | $next | index($n) | not))), $done + $next])
        | .[1][]'
}
