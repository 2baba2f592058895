//! Two HAProxys in a row, with four threads each and as services run them: masters, where the program can be one.

use std::path::{Path, PathBuf};

use super::Kind;
use crate::haproxy::{Haproxy, Program};
use crate::process::free_port;
use crate::setup::conf;

const THREADS: &str = "    nbthread 4\n";

pub struct Proxies {
    pub haproxys: [Haproxy; 2],
    pub addr: String,
    _folder: tempfile::TempDir,
}

/// Where the proxies find the others.
pub struct Peers<'a> {
    /// The agent that is asked.
    pub spoa: &'a str,
    /// The agent that gets the lines.
    pub log: &'a str,
    pub server: &'a str,
}

impl Proxies {
    pub async fn start(program: &Program, kind: Kind, peers: Peers<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [one, two, one_plain, two_plain, stats] = [(); 5].map(|()| format!("127.0.0.1:{}", free_port()));
        let spoe_cfg = conf(spoe_cfg(program, kind)).to_str().unwrap().to_owned();
        let timeout = format!("{}ms", kind.spoe_timeout().as_millis());
        let common = [("SPOE_CFG", spoe_cfg.as_str()), ("SPOE_TIMEOUT", &timeout), ("SPOA_ADDRESS", peers.spoa)];
        let [env_1, env_2] = if kind == Kind::Nine {
            let env = [
                ("LOG_TARGET", peers.log),
                ("STATS_ADDRESS", &stats),
                ("PROXY1_ADDRESS", &one),
                ("PROXY1_PLAIN_ADDRESS", &one_plain),
                ("PROXY2_ADDRESS", &two),
                ("PROXY2_PLAIN_ADDRESS", &two_plain),
                ("SERVER_ADDRESS", peers.server),
                ("SPOA_TLS", "no-ssl"),
            ];
            [(); 2].map(|()| [&common[..], &env].concat())
        } else {
            [("haproxy-1", &one, two.as_str()), ("haproxy-2", &two, peers.server)].map(|(service, listen, server)| {
                let env = [
                    ("LOG_ADDRESS", peers.log),
                    ("SERVICE_NAME", service),
                    ("LISTEN_ADDRESS", listen),
                    ("SERVER_ADDRESS", server),
                ];
                [&common[..], &env].concat()
            })
        };
        let files = if kind == Kind::Nine { ["haproxy-1.cfg", "haproxy-2.cfg"] } else { ["haproxy-lean.cfg"; 2] };
        let [file_1, file_2] = files.map(|file| with_threads(file, folder.path()));
        let master = program.can_be_master();
        let haproxys = [
            Haproxy::start_as(master, program, &file_1, &env_1, &one).await,
            Haproxy::start_as(master, program, &file_2, &env_2, &two).await,
        ];
        Proxies { haproxys, addr: one, _folder: folder }
    }

    /// Events that got no answer, as HAProxy logged them.
    pub fn spoe_errors(&self) -> usize {
        self.haproxys.iter().map(Haproxy::spoe_errors).sum()
    }
}

/// HAProxy 3.4 does not load the nine spans.
fn spoe_cfg(program: &Program, kind: Kind) -> &'static str {
    match kind {
        Kind::Nine if program.bears_nine_spans() => "spoe.cfg",
        Kind::Nine => "spoe-http.cfg",
        _ => "spoe-lean.cfg",
    }
}

/// The shipped file with threads.
fn with_threads(file: &str, folder: &Path) -> PathBuf {
    let shipped = std::fs::read_to_string(conf(file)).unwrap();
    let (before, after) = shipped.split_once("\nglobal\n").unwrap();
    let path = folder.join(file);
    std::fs::write(&path, format!("{before}\nglobal\n{THREADS}{after}")).unwrap();
    path
}
