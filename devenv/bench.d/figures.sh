# shellcheck shell=bash
# Figures of devenv/bench: several of each name, one a round.

declare -A figures

# keep NAME FIGURE
keep() { figures[$1]+="$2 "; }

# sorted NAME: one a line, the smallest first; nothing if there is none.
sorted() {
    # shellcheck disable=SC2086 # figures, separated by spaces
    [ -z "${figures[$1]:-}" ] || printf '%s\n' ${figures[$1]} | sort -g
}

# median NAME: of an even number, the lower of the two in the middle.
median() { sorted "$1" | awk '{ all[NR] = $1 } END { print NR ? all[int((NR + 1) / 2)] : "-" }'; }

# spread NAME: the median, then the least and the most.
spread() { printf '%s (%s to %s)' "$(median "$1")" "$(sorted "$1" | head -n 1)" "$(sorted "$1" | tail -n 1)"; }

# divided FORMAT FIGURE BY: in that format of printf; "-" if one of them was not measured.
divided() {
    [[ $2 != - && $3 != - ]] || { echo -; return; }
    awk -v format="$1" -v n="$2" -v by="$3" 'BEGIN { if (by == 0) print "-"; else printf format "\n", n / by }'
}
