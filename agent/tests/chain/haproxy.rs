//! Real HAProxys: those of the environment variable SPOP_HAPROXY (paths, separated by commas), else the one in PATH.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::matrix::Tested;
use crate::process::{Process, eventually};

/// An HAProxy program.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: String,
    /// Such as (2, 6).
    pub version: (u32, u32),
    /// As it says it, such as 2.6.12-1+deb12u3.
    pub full_version: String,
}

/// The HAProxys to test with.
pub fn programs() -> Vec<Program> {
    let list = std::env::var("SPOP_HAPROXY").unwrap_or_else(|_| "haproxy".to_owned());
    list.split(',').filter(|path| !path.is_empty()).map(Program::new).collect()
}

/// The oldest and the newest of them.
pub fn extremes() -> Vec<Program> {
    let mut all = programs();
    all.sort_by_key(|program| program.version);
    all.dedup_by_key(|program| program.version);
    match all.len() {
        0..=2 => all,
        n => vec![all.remove(0), all.remove(n - 2)],
    }
}

impl Program {
    fn new(path: &str) -> Self {
        let output = Command::new(path).arg("-v").output();
        let output =
            output.unwrap_or_else(|error| panic!("{path}: {error}; install haproxy, or name programs in SPOP_HAPROXY"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = text.split_whitespace().nth(2).unwrap_or_default();
        let mut parts = number.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        assert!(version.0 >= 2, "{path} -v: {text}");
        Program { path: path.to_owned(), version, full_version: number.to_owned() }
    }

    /// A part of a suite begins with it.
    pub fn tested(&self, suite: &'static str) -> Tested {
        Tested::begins(suite, &self.full_version)
    }

    /// Whether its master can start itself again, as it does to reload: HAProxy 3.4 starts the program itself, which one that
    /// was unpacked somewhere, behind a script, does not bear.
    pub fn can_be_master(&self) -> bool {
        let is_script = std::fs::read(&self.path).is_ok_and(|file| file.starts_with(b"#!"));
        self.version < (3, 4) || !is_script
    }

    /// Whether it bears a server that closes without an answer while the nine spans are sent. HAProxy 3.4 aborts.
    pub fn bears_nine_spans(&self) -> bool {
        self.version < (3, 4)
    }
}

/// A running HAProxy.
pub struct Haproxy {
    process: Process,
    /// Those that a reload replaced; they finish what they have.
    replaced: Vec<Process>,
    program: Program,
    config: PathBuf,
    env: Vec<(String, String)>,
    listens: String,
    is_master: bool,
}

impl Haproxy {
    /// Starts it and waits until `listens` (host:port) accepts connections.
    pub async fn start(program: &Program, config: &Path, env: &[(&str, &str)], listens: &str) -> Self {
        Self::start_as(false, program, config, env, listens).await
    }

    /// The same, perhaps as services run it: a master, which starts workers.
    pub async fn start_as(
        is_master: bool,
        program: &Program,
        config: &Path,
        env: &[(&str, &str)],
        listens: &str,
    ) -> Self {
        let env: Vec<_> = env.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let mut command = command(program, config, &env);
        command.arg("-db").args(is_master.then_some("-W"));
        let process = Process::start(&name(program, listens), &mut command);
        let (program, config, listens) = (program.clone(), config.to_owned(), listens.to_owned());
        let mut haproxy = Haproxy { process, replaced: Vec::new(), program, config, env, listens, is_master };
        haproxy.wait_until_it_listens().await;
        haproxy
    }

    async fn wait_until_it_listens(&mut self) {
        let what = format!("{} listens", name(&self.program, &self.listens));
        eventually(&what, || {
            self.process.assert_alive();
            std::net::TcpStream::connect(&self.listens).ok()
        })
        .await;
    }

    /// A new process takes over the listeners and tells the old one to finish, as `systemctl reload` does. Of a master it
    /// is a worker.
    pub fn reload(&mut self) {
        if self.is_master {
            return self.process.signal("-USR2");
        }
        let mut command = command(&self.program, &self.config, &self.env);
        command.args(["-db", "-sf", &self.process.pid().to_string()]);
        let new = Process::start(&format!("{} (new)", name(&self.program, &self.listens)), &mut command);
        self.replaced.push(std::mem::replace(&mut self.process, new));
    }

    /// Waits until the processes that were replaced have ended.
    pub async fn reloaded(&mut self) {
        for old in &mut self.replaced {
            old.ended().await;
        }
        self.process.assert_alive();
    }

    /// How many events it logged that got no answer of the agent, those of replaced processes too.
    pub fn spoe_errors(&self) -> usize {
        let is_error = |line: &String| line.contains("SPOE: [tracing]") && !line.contains("st=0 ");
        let processes = self.replaced.iter().chain([&self.process]);
        processes.flat_map(Process::output).filter(is_error).count()
    }

    /// Its first line of a log that has this text.
    pub fn logged(&self, text: &str) -> Option<String> {
        self.process.output().into_iter().find(|line| line.contains(text))
    }

    /// What `haproxy -c` says of the configuration: nothing but its last line, if there is no warning.
    pub fn check(&self) -> String {
        let env: Vec<_> = self.env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let (valid, said) = check(&self.program, &self.config, &env);
        assert!(valid, "{said}");
        said
    }
}

/// Workers outlive a master that is killed.
impl Drop for Haproxy {
    fn drop(&mut self) {
        if self.is_master && self.process.is_alive() {
            self.process.signal("-TERM");
            while self.process.is_alive() {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

/// Whether `haproxy -c` takes a configuration, and what it says.
pub fn check(program: &Program, config: &Path, env: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(&program.path);
    let output = command.arg("-c").arg("-f").arg(config).envs(env.iter().copied()).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn name(program: &Program, listens: &str) -> String {
    format!("haproxy {}.{} {listens}", program.version.0, program.version.1)
}

fn command(program: &Program, config: &Path, env: &[(String, String)]) -> Command {
    let mut command = Command::new(&program.path);
    command.arg("-f").arg(config).envs(env.iter().map(|(k, v)| (k, v)));
    command
}
