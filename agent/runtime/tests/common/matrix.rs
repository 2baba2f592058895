//! What was tested with which HAProxy: lines for `devenv/matrix`, in the file that SPOP_MATRIX names.

#![allow(unreachable_pub)] // Other packages' tests include it.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::SystemTime;

/// A part of a suite, with one HAProxy. It has failed unless it says that it passed.
pub struct Tested {
    suite: &'static str,
    version: String,
    passed: bool,
}

impl Tested {
    /// A version as HAProxy says it.
    pub fn begins(suite: &'static str, version: &str) -> Self {
        Tested { suite, version: version.to_owned(), passed: false }
    }

    pub fn passed(mut self) {
        self.passed = true;
    }
}

impl Drop for Tested {
    fn drop(&mut self) {
        let Ok(file) = std::env::var("SPOP_MATRIX") else { return };
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let (day, result) = (&now[..10], if self.passed { "passed" } else { "failed" });
        let line = format!("{}\t{}\t{day}\t{result}\n", self.suite, self.version);
        // In one piece: others write, too.
        let written =
            OpenOptions::new().append(true).create(true).open(&file).and_then(|mut to| to.write_all(line.as_bytes()));
        if let Err(error) = written {
            // Not by a panic, which would abort while another one is under way.
            eprintln!("SPOP_MATRIX={file}: {error}");
        }
    }
}
