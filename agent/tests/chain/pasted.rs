//! What the manuals tell to copy into one's own `haproxy.cfg`: there it is valid, too.

use crate::haproxy::{check, programs};
use crate::setup::conf;

/// As Debian installs it, without what a test has not: users, folders, files.
const DEBIAN: &str = "\
global
    log /dev/log local0
    log /dev/log local1 notice
    stats timeout 30s

defaults
    log global
    mode http
    option httplog
    option dontlognull
    timeout connect 5000
    timeout client  50000
    timeout server  50000

frontend mine
    bind 127.0.0.1:8000
    default_backend own

backend own
    server one 127.0.0.1:8001
";

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before:?} is not there"));
    rest.split_once(after).unwrap_or_else(|| panic!("{after:?} is not there")).0
}

/// Debian's, with these parts of a shipped one.
fn pasted(shipped: &str) -> String {
    let global = between(shipped, "\nglobal\n", "\ndefaults http\n").replace("presetenv", "setenv");
    let is_ones_own = |line: &&str| line.starts_with("    maxconn") || line.starts_with("    log stdout");
    let global: String = global.lines().filter(|line| !is_ones_own(line)).map(|line| format!("{line}\n")).collect();
    let frontend = between(
        shipped,
        "\nfrontend traced from http\n    bind \"${LISTEN_ADDRESS}\"\n",
        "    # From here on your own rules.\n",
    );
    // Its own name for the defaults stays behind.
    let backend = shipped
        .split_once("\nbackend spoa from http\n")
        .map_or(String::new(), |(_, rest)| format!("\nbackend spoa\n{rest}"));
    DEBIAN
        .replace("global\n    log", &format!("global\n{global}    log"))
        .replace("    bind 127.0.0.1:8000\n", &format!("    bind 127.0.0.1:8000\n{frontend}"))
        + &backend
}

#[test]
fn the_shipped_parts_are_valid_in_ones_own_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(conf("spoe-lean.cfg"), folder.path().join("spoe-lean.cfg")).unwrap();
    let path = folder.path().join("haproxy.cfg");
    for shipped in ["haproxy-lean.cfg", "haproxy-log-only.cfg"] {
        std::fs::write(&path, pasted(&std::fs::read_to_string(conf(shipped)).unwrap())).unwrap();
        for program in programs() {
            let (valid, said) = check(&program, &path, &[]);
            assert!(valid && !said.contains("WARNING"), "{shipped}, {program:?}: {said}");
        }
    }
}
