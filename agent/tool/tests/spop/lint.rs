//! `spop lint`: each trap is found in a file made for it, and nothing in our own configurations.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;

use crate::matrix::Tested;
use crate::support::{Output, Process, repository, skipped, spop, wait};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lint")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The findings of a file: file name, line and rule.
fn found(output: &Output) -> Findings {
    let file = |text: &str| Path::new(text).file_name().unwrap().to_str().unwrap().to_owned();
    let lines = output.json_lines();
    let findings = lines.iter().map(|finding| {
        let text = |key: &str| finding[key].as_str().unwrap();
        assert!(!text("text").is_empty() && !finding["haproxy_versions"].as_array().unwrap().is_empty(), "{finding}");
        (file(text("file")), finding["line"].as_u64().unwrap(), text("rule").to_owned())
    });
    findings.collect()
}

/// What a file says of itself: lines that end with `# lint: RULE`.
fn expected(path: &Path) -> Findings {
    let name = path.file_name().unwrap().to_str().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let marked = text.lines().enumerate().flat_map(|(n, line)| {
        let rules =
            line.split("# lint: ").skip(1).map(move |rule| (name.to_owned(), n as u64 + 1, rule.trim().to_owned()));
        rules.collect::<Vec<_>>()
    });
    marked.collect()
}

/// File name, line and rule.
type Findings = BTreeSet<(String, u64, String)>;

/// The files made for traps, those in the manner of public projects, those without a trap, and those that HAProxy refuses by itself:
/// each configuration with the SPOE file beside it.
fn cases() -> Vec<(PathBuf, Findings)> {
    let folders = [data(), data().join("public"), data().join("clean"), data().join("haproxy-says")];
    let all = folders.into_iter().flat_map(|folder| files(&folder));
    let configurations = all.filter(|path| path.extension().is_some_and(|extension| extension == "cfg"));
    configurations
        .map(|path| {
            let spoe = path.with_extension("spoe");
            let of_spoe = if spoe.exists() { expected(&spoe) } else { BTreeSet::new() };
            let expected = expected(&path).into_iter().chain(of_spoe).collect();
            (path, expected)
        })
        .collect()
}

#[test]
fn each_trap_is_found_where_it_is() {
    let mut rules = BTreeSet::new();
    for (path, expected) in cases() {
        let output = spop(&["lint", "--json", path.to_str().unwrap()]);
        assert_eq!(found(&output), expected, "{}: {output:?}", path.display());
        assert_eq!(output.code, i32::from(!expected.is_empty()), "{output:?}");
        rules.extend(expected.into_iter().map(|(_, _, rule)| rule));
    }
    let all = spop(&["lint", "--list-rules", "--json"]).ok();
    let all: BTreeSet<_> = all.json_lines().iter().map(|rule| rule["rule"].as_str().unwrap().to_owned()).collect();
    assert_eq!(rules, all, "each rule has its file");
}

/// Its own check says nothing of what is found. The second line of a file says which versions take it.
#[test]
fn haproxy_takes_what_is_found() {
    let programs = std::env::var("SPOP_HAPROXY").unwrap_or_else(|_| "haproxy".to_owned());
    let mut asked = 0;
    for program in programs.split(',') {
        let Ok(version) = Command::new(program).arg("-v").output() else { continue };
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let version = version.split_whitespace().nth(2).unwrap();
        let tested = Tested::begins("lint", version);
        let version = version.split('.').take(2).collect::<Vec<_>>().join(".");
        for (path, _) in cases() {
            let text = std::fs::read_to_string(&path).unwrap();
            let takes = text.lines().find_map(|line| line.strip_prefix("# haproxy:")).expect("# haproxy: VERSIONS");
            if takes.contains("not asked") || !["2.6", "3.0", "3.2", "3.4"].contains(&version.as_str()) {
                continue;
            }
            let output = Command::new(program).args(["-c", "-f"]).arg(&path).current_dir("/").output().unwrap();
            let expected = takes.split_whitespace().any(|takes| takes == version);
            assert_eq!(output.status.success(), expected, "{program} -c -f {}: {output:?}", path.display());
            asked += 1;
        }
        tested.passed();
    }
    if asked == 0 {
        skipped(&format!("no HAProxy to ask among {programs}; SPOP_HAPROXY names the programs"));
    }
}

#[test]
fn nothing_is_found_in_our_own_configurations() {
    let repository = repository();
    let mut checked = 0;
    for folder in
        ["devenv/conf", "devenv/conf/propagation", "devenv/lua", "agent/kubernetes/haproxy", "spop-ffi/tests/haproxy"]
    {
        for path in files(&repository.join(folder)) {
            if path.extension().is_some_and(|extension| extension == "cfg") {
                let output = Command::new(env!("CARGO_BIN_EXE_spop"))
                    .arg("lint")
                    .arg(&path)
                    .env("EXAMPLES", repository.join("devenv/lua"))
                    .env("SPOE_CONFIG", repository.join("spop-ffi/tests/haproxy/spoe.cfg"))
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stdout));
                checked += 1;
            }
        }
    }
    assert!(checked >= 15, "{checked}");
}

/// A version's findings are its own, and what is allowed is left out.
#[test]
fn versions_and_exceptions() {
    let seed = repository().join("agent/tests/data/seed-style/spoe.cfg");
    let seed = seed.to_str().unwrap();
    let output = spop(&["lint", seed]).failed(1, "2 found");
    assert_eq!(output.stdout.matches("(HAProxy 3.4) [aborts-haproxy]").count(), 2, "{output:?}");
    spop(&["lint", seed, "--haproxy-version", "3.2"]).ok();
    spop(&["lint", seed, "--haproxy-version", "3.4-dev2", "--errors-only"]).failed(1, "2 found");
    spop(&["lint", seed, "--allow", "aborts-haproxy"]).ok();
    spop(&["lint", seed, "--allow", "abort-haproxy"]).failed(2, "did you mean aborts-haproxy?");
    spop(&["lint", seed, "--haproxy-version", "three"]).failed(2, "no version of HAProxy");
    spop(&["lint", "/nonexistent.cfg"]).failed(6, "/nonexistent.cfg");
    spop(&["lint"]).failed(2, "FILE");
}

/// A terminal takes no orders from what is looked at; JSON has it as it is.
#[test]
fn control_characters_are_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a\x1bb.spoe");
    std::fs::write(&path, "[e]\nspoe-message \"x\\x1b[2J\\n\u{9b}é\"\n").unwrap();
    let path = path.to_str().unwrap();
    let text = spop(&["lint", path]).failed(1, "1 found").stdout;
    assert!(text.contains(r"a\u{1b}b.spoe:2: ") && text.contains(r"the message x\u{1b}[2J\n\u{9b}é:"), "{text}");
    let json = spop(&["lint", "--json", path]).failed(1, "1 found").json_lines().remove(0);
    assert!(json["file"] == path && json["text"].as_str().unwrap().contains("x\x1b[2J\n\u{9b}é:"), "{json}");
}

/// The manual has all rules.
#[test]
fn the_manual_has_the_rules() {
    let manual = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let rules = spop(&["lint", "--list-rules", "--json"]).ok().json_lines();
    for rule in &rules {
        let row = format!(
            "| `{}` | {} |",
            rule["rule"].as_str().unwrap(),
            rule["about"].as_str().unwrap().replace('|', "\\|")
        );
        assert!(manual.contains(&row), "README.md needs the row\n{row}");
    }
}

/// What would take all memory or all time if it were taken literally: each ends.
#[test]
fn hostile_files_end() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    std::fs::write(directory.path().join("many.spoe"), "[e]\nspoe-agent a\n".repeat(20_000)).unwrap();
    const N: usize = 20_000;
    let doubling = "    setenv A \"$A$A\"\n".repeat(64);
    for (name, text, expected) in [
        ("doubling", format!("global\n    setenv A x\n{doubling}"), 0),
        ("deep", format!("{}global\n", ".if true\n".repeat(200_000)), 0),
        ("frontends", format!("defaults\n{}{}", " option x\n".repeat(20_000), "frontend f\n".repeat(5_000)), 0),
        ("filters", format!("frontend f\n{}", "filter spoe engine e config many.spoe\n".repeat(20_000)), 1),
        (
            "logs",
            format!(
                "global\n{0}frontend f\n    log-format-sd [otel@32473\n{1}",
                " log x\n".repeat(N),
                " log global\n".repeat(N)
            ),
            1,
        ),
        (
            "profiles",
            format!(
                "log-profile p\n{}frontend f\n{}",
                " on any sd [otel@32473\n".repeat(N),
                " log x profile p\n".repeat(N)
            ),
            1,
        ),
        (
            "rings",
            format!(
                "{}frontend f\n log-format-sd [otel@32473\n{}",
                "ring r\n".repeat(5 * N),
                " log ring@x format rfc5424\n".repeat(5 * N)
            ),
            1,
        ),
        ("scopes", (0..100_000).map(|n| format!("[e{n}]\nspoe-agent a\n    timeout processing 1s\n")).collect(), 1),
        ("pipe", format!("frontend f\n    filter spoe engine e config {}\n", fifo.display()), 1),
    ] {
        let path = directory.path().join(format!("{name}.cfg"));
        std::fs::write(&path, text).unwrap();
        let mut lint = Command::new(env!("CARGO_BIN_EXE_spop"));
        let mut lint =
            Process(lint.arg("lint").arg(&path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        assert_eq!(wait(&mut lint.0, name), expected, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is in a file: an answer, and soon.
    #[test]
    fn any_file_gets_an_answer(
        words in prop::collection::vec(
            prop_oneof![
                Just("spoe-message otel:request\n"), Just("spoe-agent a\n"), Just("[x]\n"), Just("frontend f\n"), Just(".if "), Just(".else\n"),
                Just("args "), Just("id="), Just("tag="), Just("filter spoe engine x config x\n"), Just("\""), Just("'"), Just("\\"), Just("${"),
                Just("log-format-sd [otel@32473"), Just("event on-server-session\n"), Just("\n"), Just("("), Just(",bytes(0,"), Just("99999999999999999999"),
            ],
            0..200,
        ),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("any.cfg");
        std::fs::write(&path, [words.concat().as_bytes(), &bytes].concat()).unwrap();
        let output = spop(&["lint", path.to_str().unwrap()]);
        prop_assert!(output.code == 0 || output.code == 1, "{output:?}");
    }
}
