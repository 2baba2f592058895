//! The manual pages and completions that packages ship.

use std::path::Path;
use std::process::{Command, Output};

fn spoa_otel(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_spoa-otel"))
        .args(args)
        .env("SOURCE_DATE_EPOCH", "1795478400")
        // What it says of variables is of no interest there.
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere")
        .output()
        .unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// The lines of a section that stand as they are.
fn section(page: &str, heading: &str) -> String {
    let after = page.split(&format!("\n.SH {heading}\n.nf\n")).nth(1).unwrap();
    let text = after.split(".fi\n").next().unwrap();
    text.replace("\\-", "-")
}

#[test]
fn pages_and_completions_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let into = |what: &str| format!("{what}={}", directory.path().display());
    for (what, file, part) in [
        ("man", "spoa-otel.1", ".TH SPOA-OTEL 1 2026-11-24 \"spoa-otel "),
        ("bash", "spoa-otel.bash", "--log-allow"),
        ("zsh", "_spoa-otel", "--log-allow"),
        ("fish", "spoa-otel.fish", "log-allow"),
    ] {
        let (status, text) = spoa_otel(&["--generate", what]);
        assert!(status == Some(0) && text.contains(part), "{what}: {status:?} {text}");
        assert_eq!(spoa_otel(&["--generate", &into(what)]), (Some(0), String::new()));
        assert_eq!(std::fs::read_to_string(directory.path().join(file)).unwrap(), text, "{what}");
    }
    let page = std::fs::read_to_string(directory.path().join("spoa-otel.1")).unwrap();
    for part in ["\n.SH ENVIRONMENT\n", "\n.SH \"EXIT STATUS\"\n"] {
        assert!(page.contains(part), "{part}: {page}");
    }

    let page = std::fs::read_to_string(directory.path().join("spoa-otel.toml.5")).unwrap();
    assert!(page.starts_with(".TH SPOA-OTEL.TOML 5 2026-11-24 "), "{page}");
    let example = directory.path().join("example.toml");
    std::fs::write(&example, section(&page, "EXAMPLES")).unwrap();
    let mut check = Command::new(env!("CARGO_BIN_EXE_spoa-otel"));
    let Output { status, stderr, .. } = check.arg("--check").arg("--config").arg(&example).output().unwrap();
    assert!(status.success() && stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
}

#[test]
fn what_cannot_be_written_is_named() {
    assert!(!Path::new("/nonexistent").exists());
    for (args, status, named) in [
        (&["--generate", "man=/nonexistent"][..], 1, "/nonexistent/spoa-otel.1: "),
        (&["--generate", "fish=/nonexistent"], 1, "/nonexistent: "),
        (&["--generate", "html"], 2, "man, bash, zsh or fish"),
        (&["--generate", "man", "--check"], 2, "cannot be used with"),
    ] {
        let (code, text) = spoa_otel(args);
        assert!(code == Some(status) && text.contains(named), "{args:?}: {code:?} {text}");
    }
}
