//! The version that `spoa-otel --version` shows: with the commit, if it is known; and the commit by itself.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SPOA_OTEL_COMMIT");
    let version = env!("CARGO_PKG_VERSION");
    // Builds from an archive have no repository, but may name the commit.
    let commit = std::env::var("SPOA_OTEL_COMMIT").ok().filter(|commit| !commit.is_empty()).or_else(commit);
    println!("cargo:rustc-env=SPOA_OTEL_COMMIT={}", commit.as_deref().unwrap_or_default());
    let shown = commit.map_or(version.to_owned(), |commit| format!("{version} ({commit})"));
    println!("cargo:rustc-env=SPOA_OTEL_VERSION={shown}");
}

/// The commit of the repository that this file belongs to, not of one that happens to contain an unpacked archive.
fn commit() -> Option<String> {
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    for path in ["HEAD", "logs/HEAD"] {
        println!("cargo:rerun-if-changed={}", git(&["rev-parse", "--git-path", path])?);
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
