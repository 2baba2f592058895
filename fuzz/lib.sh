# shellcheck shell=bash
# Shared by the scripts of this folder, on top of those of devenv.
# shellcheck source-path=SCRIPTDIR/.. source=devenv/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../devenv/lib.sh"

FUZZ=$REPO/fuzz
CARGO_FUZZ_VERSION=0.13.2

need_cargo_fuzz() {
    need_packages cc=build-essential make
    need_rust
    PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    cargo fuzz --version >/dev/null 2>&1 && return
    say "installing cargo-fuzz $CARGO_FUZZ_VERSION"
    cargo install --quiet --locked --version "$CARGO_FUZZ_VERSION" cargo-fuzz
}

# build_targets CARGO_FUZZ_OPTION...: with AddressSanitizer; a stable toolchain is enough.
build_targets() { (cd "$FUZZ" && RUSTC_BOOTSTRAP=1 cargo fuzz build "$@"); }

# targets [core]: the names of all targets, or of those that need no agent.
targets() {
    awk -v only="${1:-}" '
        function show() { if (name != "" && !(only == "core" && agent)) print name; name = ""; agent = 0 }
        /^\[/ { show(); bin = $0 == "[[bin]]" }
        bin && /^name/ { split($0, part, "\""); name = part[2] }
        bin && /^required-features/ { agent = 1 }
        END { show() }' "$FUZZ/Cargo.toml"
}

host() { rustc -vV | sed -n 's/^host: //p'; }

# dictionary TARGET [DIRECTORY]: its own, else that of the protocol.
dictionary() {
    local directory=${2:-$FUZZ/dictionaries}
    if [ -f "$directory/$1.dict" ]; then echo "$directory/$1.dict"; else echo "$directory/spop.dict"; fi
}

# unpack_corpus TARGET DIRECTORY: the committed inputs of a target into DIRECTORY/TARGET.
unpack_corpus() {
    [ -f "$FUZZ/corpus/$1.tar.gz" ] || fail "there is no corpus/$1.tar.gz; fuzz/pack makes it"
    mkdir -p "$2"
    tar -xzf "$FUZZ/corpus/$1.tar.gz" -C "$2"
}

# pack_corpus TARGET DIRECTORY: makes the archive of DIRECTORY/TARGET. The same inputs make the same bytes, whoever packs them.
pack_corpus() {
    (cd "$2" && LC_ALL=C tar --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -cf - "$1") |
        gzip -9n >"$TMP/$1.tar.gz"
    mkdir -p "$FUZZ/corpus"
    mv "$TMP/$1.tar.gz" "$FUZZ/corpus/"
}
