# shellcheck shell=bash
# Instructions of single operations under valgrind, for devenv/bench --instructions.

# instructions [yes]: what takes how many; with "yes" it is what the table says from now on. Operations of spop-core, then requests
# to the tracer. What is not in the table yet is not compared.
instructions() {
    local table=$DEVENV/bench-instructions.txt program name was now worse=() compiler
    local core=(walk-ip walk-trace encode-ack notify-to-ack-ip notify-to-ack-trace fragments-to-ack-trace)
    local tracer=(one-span one-span-unsampled nine-spans hundred-attributes lean log-line)
    need_packages cc=build-essential valgrind jq
    need_rust
    say "building (release)"
    compiler=$(rustc -vV | awk '/^host/ { host = $2 } /^release/ { version = $2 } END { print "rustc", version, host }')
    printf '%-24s %10s %10s %8s\n' operation was now change
    for name in "${core[@]}" "${tracer[@]}"; do
        case " ${core[*]} " in
        *" $name "*) program=$(bench_program spop-core operations) ;;
        *) program=$(bench_program spoa-otel operations) ;;
        esac
        now=$((($(counted "$program" "$name" 600) - $(counted "$program" "$name" 100)) / 500))
        was=$(awk -v name="$name" '$1 == name { print $2 }' "$table" 2>/dev/null) || true
        echo "$name $now" >>"$TMP/instructions"
        printf '%-24s %10s %10d %8s\n' "$name" "${was:--}" "$now" "$(change "${was:-0}" "$now")"
        [ -z "$was" ] || [ $((now * 100)) -le $((was * 103)) ] || worse+=("$name")
    done
    if [ -n "${1:-}" ]; then
        { echo "# Instructions of an operation, by devenv/bench --instructions. $compiler"; cat "$TMP/instructions"; } >"$table"
        say "written to $table: commit it, and say in the commit why a figure rose"
    elif ! head -n 1 "$table" | grep -qF "$compiler"; then
        echo "SKIPPED: instructions: the table is of another compiler than $compiler, which alone changes figures by some percent"
    elif [ ${#worse[@]} -gt 0 ]; then
        fail "more than 3 % more instructions: ${worse[*]}. If that is worth it: devenv/bench --instructions --accept, and commit the table"
    fi
}

# bench_program PACKAGE NAME: its program for this script, built.
bench_program() {
    cargo build -q --release --locked -p "$1" --bench "$2" --message-format json |
        jq -r --arg name "$2" 'select(.target.name == $name and .executable) | .executable'
}

# counted PROGRAM NAME TIMES: the instructions of the whole run. Two of them tell what each time takes.
counted() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>"$TMP/callgrind" || { cat "$TMP/callgrind" >&2; fail "$*"; }
    awk '/Collected *:/ { print $NF }' "$TMP/callgrind"
}

# change WAS NOW: in percent.
change() { [ "$1" = 0 ] || awk -v was="$1" -v now="$2" 'BEGIN { printf "%+.1f %%", 100 * (now - was) / was }'; }
