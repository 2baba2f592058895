//! The examples of the runtime, each behind HAProxy with the configuration beside it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::proxy::with_each;
use crate::support::{Process, RealAgent, example, repository, until};

/// A free port.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server of HTTP that answers what a function makes of the request.
struct Http {
    addr: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Http {
    fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let (asked, answer) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(answer));
        let all = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, all, answer) = (stream.unwrap(), all.clone(), answer.clone());
                std::thread::spawn(move || {
                    let (mut request, mut byte) = (Vec::new(), [0]);
                    while !request.ends_with(b"\r\n\r\n") {
                        if stream.read(&mut byte).unwrap_or(0) == 0 {
                            return;
                        }
                        request.push(byte[0]);
                    }
                    let request = String::from_utf8(request).unwrap();
                    all.lock().unwrap().push(request.clone());
                    let body = answer(&request);
                    // HAProxy may have given up.
                    let _gone = write!(
                        stream,
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    );
                });
            }
        });
        Http { addr, asked }
    }
}

/// HAProxy with the configuration of an example, whose server answers the headers that it got.
struct Site {
    _haproxy: Process,
    addr: String,
}

impl Site {
    fn start(program: &str, of: &str, agent: &str) -> Self {
        let server = Http::start(str::to_lowercase);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/examples").join(of);
        let addr = format!("127.0.0.1:{}", port());
        let haproxy = Command::new(program)
            .args(["-db", "-f", "haproxy.cfg"])
            .current_dir(folder)
            .envs([("AGENT_ADDRESS", agent), ("LISTEN_ADDRESS", &addr), ("SERVER_ADDRESS", &server.addr)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut haproxy = Process(haproxy);
        until("HAProxy listens", || {
            assert!(haproxy.0.try_wait().unwrap().is_none(), "{program} {of}");
            TcpStream::connect(&addr).is_ok()
        });
        Site { _haproxy: haproxy, addr }
    }

    /// The answer, which is the request as the server saw it.
    fn get(&self, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(&self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n{headers}Connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn until(&self, what: &str, path: &str, wanted: &str) {
        until(what, || self.get(path, "User-Agent: test\r\n").contains(wanted));
    }
}

fn start(name: &str, args: &[&str]) -> RealAgent {
    RealAgent::start_program(&example(name), &[&["127.0.0.1:0"], args].concat())
}

#[test]
fn a_list_that_changes_while_it_is_in_use() {
    with_each(|program, _| {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("list");
        std::fs::write(&list, "# who\n127.0.0.1 30\n").unwrap();
        let agent = start("reputation_list", &[list.to_str().unwrap()]);
        let site = Site::start(program, "score", &agent.addr);
        site.until("the score", "/", "x-score: 30");
        std::fs::write(&list, "10.0.0.0/8 1\n127.0.0.0/8 90\n").unwrap();
        site.until("the other score", "/", "HTTP/1.1 429");
        // A list that cannot be used leaves the one before it.
        std::fs::write(&list, "127.0.0.0/8 none\n").unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        assert!(site.get("/", "").contains("HTTP/1.1 429"));
    });
}

#[test]
fn a_bouncer_denies_by_score() {
    with_each(|program, _| {
        let agent = start("bouncer", &[]);
        let site = Site::start(program, "bouncer", &agent.addr);
        site.until("a score", "/wp-login.php", "x-score: 40");
        for (path, headers, wanted) in [
            ("/", "User-Agent: test\r\n", "x-score: 0"),
            ("/", "", "x-score: 30"),
            ("/wp-login.php", "", "HTTP/1.1 403"),
            ("/", "User-Agent: sqlmap/1.7\r\n", "HTTP/1.1 403"),
            ("/a/../.env", "User-Agent: test\r\n", "HTTP/1.1 403"),
        ] {
            let answer = site.get(path, headers);
            assert!(answer.contains(wanted), "{path} {headers}: {answer}");
        }
    });
}

#[test]
fn a_service_is_asked_once_and_not_waited_for() {
    with_each(|program, _| {
        let slow = Arc::new(Mutex::new(true));
        let waits = slow.clone();
        let service = Http::start(move |_| {
            if *waits.lock().unwrap() {
                std::thread::sleep(Duration::from_secs(2));
            }
            "55".to_owned()
        });
        let agent = start("lookup", &[&format!("http://{}/scores", service.addr)]);
        let site = Site::start(program, "score", &agent.addr);
        until("it is asked", || {
            assert!(site.get("/", "").contains("HTTP/1.1 200"), "late answers cost no request");
            !service.asked.lock().unwrap().is_empty()
        });
        *slow.lock().unwrap() = false;
        site.until("the score", "/", "x-score: 55");
        let asked = service.asked.lock().unwrap().len();
        for _ in 0..5 {
            assert!(site.get("/", "").contains("x-score: 55"));
        }
        assert_eq!(service.asked.lock().unwrap().len(), asked, "it remembers");
        assert!(service.asked.lock().unwrap()[0].starts_with("GET /scores/127.0.0.1 "));
    });
}

#[test]
fn the_country_of_a_client() {
    let directory = tempfile::tempdir().unwrap();
    let database: PathBuf = directory.path().join("country.mmdb");
    std::fs::write(&database, mmdb(&[127, 0, 0], 24, "DE")).unwrap();
    with_each(|program, _| {
        let agent = start("geoip", &[database.to_str().unwrap()]);
        let site = Site::start(program, "geoip", &agent.addr);
        site.until("the country", "/", "x-country: de");
    });
}

/// The lines of the README's first block of that language.
fn readme_block(language: &str) -> String {
    let readme = std::fs::read_to_string(repository().join("agent/runtime/README.md")).unwrap();
    let block = readme.lines().skip_while(|line| !line.starts_with(&format!("```{language}"))).skip(1);
    block.take_while(|line| !line.starts_with("```")).map(|line| format!("{line}\n")).collect()
}

/// What an author does first: a new package, the README's commands, the README's program, HAProxy before it.
#[test]
fn an_agent_from_the_readme_alone() {
    let directory = tempfile::tempdir().unwrap();
    let package = directory.path().join("first-agent");
    // Beside this test, so that the next run finds what it built.
    let built = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("readme");
    let run = |args: &[&str], at: &Path| {
        let ran =
            Command::new(env!("CARGO")).args(args).current_dir(at).env("CARGO_TARGET_DIR", &built).output().unwrap();
        assert!(ran.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    };
    run(&["new", "--vcs", "none", "first-agent"], directory.path());
    // The dependencies that this repository has, without asking a registry.
    std::fs::copy(repository().join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let here = repository().join("agent/runtime");
    let commands = readme_block("sh");
    assert!(commands.contains("cargo add spop-agent\n"), "{commands}");
    for command in commands.lines() {
        let command = command.strip_prefix("cargo ").unwrap();
        let command = command.replace("add spop-agent", &format!("add --path {}", here.display()));
        run(&[&command.split(' ').collect::<Vec<_>>()[..], &["--offline"]].concat(), &package);
    }
    let agent = format!("127.0.0.1:{}", port());
    let program = readme_block("rust");
    assert!(program.contains("127.0.0.1:12345"), "{program}");
    std::fs::write(package.join("src/main.rs"), program.replace("127.0.0.1:12345", &agent)).unwrap();
    run(&["build", "--offline"], &package);
    let _agent = Process(Command::new(built.join("debug/first-agent")).spawn().unwrap());
    with_each(|program, _| {
        let site = Site::start(program, "score", &agent);
        // The README's score of 127.0.0.1 is 100, which this configuration refuses.
        site.until("the score", "/", "HTTP/1.1 429");
    });
}

/// A database of MaxMind's format 2.0 with one network of IPv4 and its country.
fn mmdb(prefix: &[u8], bits: usize, country: &str) -> Vec<u8> {
    let text = |text: &str| [&[0x40 | text.len() as u8][..], text.as_bytes()].concat();
    let map = |entries: &[(&str, Vec<u8>)]| {
        let pairs = entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat());
        [vec![0xe0 | entries.len() as u8], pairs.collect()].concat()
    };
    let short = |n: u16| [&[0xa2][..], &n.to_be_bytes()].concat();
    let number = |n: u32| [&[0xc4][..], &n.to_be_bytes()].concat();
    let long = |n: u64| [&[8, 2][..], &n.to_be_bytes()].concat();
    // A node for each bit: on the way another one, beside it nothing; at the end the data.
    let (nodes, nothing) = (bits as u32, bits as u32);
    let record = |n: u32| n.to_be_bytes()[1..].to_vec();
    let tree = (0..nodes).flat_map(|n| {
        let bit = prefix[n as usize / 8] >> (7 - n % 8) & 1;
        let next = if n + 1 == nodes { nodes + 16 } else { n + 1 };
        let [left, right] = if bit == 0 { [next, nothing] } else { [nothing, next] };
        [record(left), record(right)].concat()
    });
    let data = map(&[("country", map(&[("iso_code", text(country))]))]);
    let metadata = map(&[
        ("binary_format_major_version", short(2)),
        ("binary_format_minor_version", short(0)),
        ("build_epoch", long(1_764_000_000)),
        ("database_type", text("Test-Country")),
        ("description", map(&[])),
        ("ip_version", short(4)),
        ("languages", vec![0x00, 0x04]),
        ("node_count", number(nodes)),
        ("record_size", short(24)),
    ]);
    [tree.collect(), vec![0; 16], data, b"\xab\xcd\xefMaxMind.com".to_vec(), metadata].concat()
}
