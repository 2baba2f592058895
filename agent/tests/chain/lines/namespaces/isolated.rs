//! A test that has the machine's network for itself: it runs again in namespaces, where it is root.
//!
//! What it makes there (hosts, bridges, their names in /run/netns) nobody outside sees, and all of it goes away with the last of its
//! processes, however they end: nothing is left to be removed.

use std::process::Command;

use crate::programs::{say, skipped};

/// Set inside.
const INSIDE: &str = "SPOP_IN_NAMESPACES";

/// Whether the network is not that of the machine.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs an ignored test of this program inside. What it says in lines that begin so comes out.
pub fn run(test: &str, says: &[&str]) {
    let unshare = match root_of_namespaces() {
        Ok(unshare) => unshare,
        Err(why) => return skipped(&format!("hosts in network namespaces: {why}")),
    };
    let mut command = command(unshare);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--ignored", "--nocapture"]).env(INSIDE, "1");
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{command:?}\n{text}");
    assert!(text.contains("1 passed"), "there is no test {test}:\n{text}");
    for line in text.lines().filter(|line| says.iter().any(|begin| line.starts_with(begin))) {
        say(line);
    }
}

/// A process in them is alone with its children, which end with it, and it ends with who waits for it.
const UNSHARE: [&str; 6] = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// What to tell `unshare`: root may need nothing more, others and root of a container become the root of a user namespace.
fn root_of_namespaces() -> Result<&'static [&'static str], String> {
    let mut why = String::new();
    for more in [&[][..], &["--user", "--map-root-user"]] {
        // That nothing but the right is missing is for the test itself to find out.
        match command(more).args(["ip", "link", "set", "lo", "up"]).output() {
            Ok(output) if output.status.success() => return Ok(more),
            Ok(output) => why = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "),
            Err(error) => why = format!("unshare: {error}"),
        }
    }
    Err(why)
}

fn command(more: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    // A user's PATH has no `ip` on Debian.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    // No proxy of the user's environment is within reach.
    command.args(more).args(UNSHARE).arg("--").env("PATH", path).env("no_proxy", "*").env("NO_PROXY", "*");
    command
}
