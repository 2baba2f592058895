//! The configuration file, and what comes before what.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::certificates::Files;

/// A folder with a configuration file.
pub struct File {
    _dir: TempDir,
    pub path: PathBuf,
}

impl File {
    pub fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, text).unwrap();
        Self { _dir: dir, path }
    }

    pub fn arg(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// Exit status, standard output and the lines of standard error, without an environment of its own.
fn run(args: &[&str], env: &[(&str, &str)]) -> (i32, String, Vec<String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spoa-otel"));
    let Output { status, stdout, stderr } = command.args(args).envs(env.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr).lines().map(str::to_owned).collect())
}

/// What `--print-config` says of an option: its line.
fn printed(name: &str, args: &[&str], env: &[(&str, &str)]) -> String {
    let (status, text, errors) = run(&[args, &["--print-config"]].concat(), env);
    assert_eq!(status, 0, "{errors:#?}");
    let line = text.lines().find(|line| {
        let rest = line.trim_start_matches("# ").strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([' ', ':']))
    });
    line.unwrap_or_else(|| panic!("{name}: {text}")).to_owned()
}

/// What the file turns on the command line turns off.
#[test]
fn a_switch_is_on_or_off() {
    let file = File::new("keep-errors = true\nlog-phases = false\nconsole = true\n");
    let of_file = ["--config", file.arg()];
    for name in ["keep-errors", "log-phases", "console"] {
        for (word, value) in [("", true), ("=true", true), ("=false", false)] {
            let arg = format!("--{name}{word}");
            for args in [&[&*arg][..], &[&of_file[..], &[&arg]].concat()] {
                assert_eq!(printed(name, args, &[]), format!("{name} = {value}  # command line"), "{args:?}");
            }
        }
    }
    assert_eq!(printed("keep-errors", &of_file, &[]), format!("keep-errors = true  # {}:1", file.arg()));
    assert_eq!(printed("log-phases", &of_file, &[]), format!("log-phases = false  # {}:2", file.arg()));
    let (status, _, errors) = run(&["--keep-errors=maybe", "--check"], &[]);
    assert!(status == 2 && errors[0].contains("--keep-errors[=<BOOL>]"), "{errors:?}");
}

#[test]
fn flags_come_before_variables_before_the_file_before_defaults() {
    let file = File::new(
        "queue-spans = 3\nbatch-delay = \"3s\"\nlog-level = \"warn\"\nmax-in-flight = 3\nlisten = [\"127.0.0.1:3\"]\n",
    );
    let of_file = ["--config", file.arg()];
    let place = |line| format!("{}:{line}", file.arg());
    let variable = [("OTEL_BSP_MAX_QUEUE_SIZE", "2"), ("OTEL_LOG_LEVEL", "error")];
    let with = |more: &[&'static str]| [&of_file[..], more].concat();
    assert_eq!(printed("queue-spans", &with(&["--queue-spans=1"]), &variable), "queue-spans = 1  # command line");
    assert_eq!(printed("queue-spans", &of_file, &variable), "# queue-spans: 2  # OTEL_BSP_MAX_QUEUE_SIZE");
    assert_eq!(printed("queue-spans", &of_file, &[]), format!("queue-spans = 3  # {}", place(1)));
    assert_eq!(printed("batch-delay", &of_file, &variable), format!("batch-delay = \"3s\"  # {}", place(2)));
    assert_eq!(printed("log-level", &of_file, &variable), "# log-level: \"error\"  # OTEL_LOG_LEVEL");
    assert_eq!(printed("batch-spans", &of_file, &[]), "# batch-spans: 512  # default");
    assert_eq!(printed("max-connections", &of_file, &[]), "max-connections = 4096  # default");
    // A variable that says nothing usable is ignored, and the file counts.
    let unusable = [("OTEL_BSP_MAX_QUEUE_SIZE", "many")];
    assert_eq!(printed("queue-spans", &of_file, &unusable), format!("queue-spans = 3  # {}", place(1)));
    // A list is replaced as a whole.
    let listen = printed("listen", &with(&["--listen=127.0.0.1:1", "--listen", "127.0.0.1:2"]), &[]);
    assert_eq!(listen, "listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]  # command line");
    assert_eq!(printed("listen", &of_file, &[]), format!("listen = [\"127.0.0.1:3\"]  # {}", place(5)));
}

#[test]
fn the_environment_of_the_process_comes_before_that_of_the_file() {
    let file = File::new("[environment]\nOTEL_SERVICE_NAME = \"file\"\nOTEL_BSP_MAX_QUEUE_SIZE = 7\n");
    let args = ["--config", file.arg()];
    let expected = format!("OTEL_SERVICE_NAME = \"file\"  # {}:2", file.arg());
    assert_eq!(printed("OTEL_SERVICE_NAME", &args, &[]), expected);
    let own = printed("OTEL_SERVICE_NAME", &args, &[("OTEL_SERVICE_NAME", "own")]);
    assert_eq!(own, "OTEL_SERVICE_NAME = \"own\"  # OTEL_SERVICE_NAME");
    assert_eq!(printed("queue-spans", &args, &[]), "# queue-spans: 7  # OTEL_BSP_MAX_QUEUE_SIZE");
}

#[test]
fn each_mistake_has_its_line_and_says_what_to_do() {
    for (text, line, expected) in [
        ("queue_spans = 1", 1, "there is no option queue_spans; did you mean queue-spans?"),
        ("\n\nlistne = []", 3, "did you mean listen?"),
        ("queue-spans = 0", 1, "invalid value '0' for '--queue-spans <N>': not a number above 0"),
        ("queue-spans = -5", 1, "'--queue-spans <N>'"),
        ("max-memory = \"lots\"", 1, "64MiB"),
        ("listen = [\n\"127.0.0.1:1\",\n\"nowhere\"]", 3, "\"nowhere\" has no port"),
        ("listen = []", 1, "listen has no value"),
        ("log-level = \"loud\"", 1, "possible values: off, error, warn, info, debug, trace"),
        ("keep-errors = 1", 1, "keep-errors is true or false"),
        ("grace = [\"1s\"]", 1, "grace has one value, not a list"),
        ("grace = 1979-05-27", 1, "expected a text"),
        ("grace = {}", 1, "there is no table grace"),
        ("config = \"x\"", 1, "for the command line only"),
        ("check = true", 1, "for the command line only"),
        ("grace = \"1s\"\ngrace = \"2s\"", 2, "duplicate key"),
        ("grace = \n", 1, "config.toml:1: "),
        ("[export]\nqueue-spans = 1", 1, "there is no table export"),
        ("otlp = \"ftp://me:secret@c\"", 1, "--otlp: invalid URL \"ftp://...@c\""),
        ("[environment]\nOTEL_SERVICE_NAM = \"x\"", 2, "did you mean OTEL_SERVICE_NAME?"),
        ("[environment]\nPATH = \"x\"", 2, "PATH is no variable of spoa-otel"),
        ("[environment]\nOTEL_BSP_MAX_QUEUE_SIZE = 0", 2, "OTEL_BSP_MAX_QUEUE_SIZE: \"0\" is not a number from 1 on"),
        ("[environment]\nOTEL_TRACES_SAMPLER = \"xray\"", 2, "unknown sampler \"xray\""),
        ("[environment]\nOTEL_TRACES_EXPORTER = \"zipkin\"", 2, "unknown exporter \"zipkin\""),
        ("[environment]\nOTEL_LOG_LEVEL = \"loud\"", 2, "OTEL_LOG_LEVEL=loud"),
        ("[environment]\nOTEL_METRIC_EXPORT_INTERVAL = 5", 2, "has no effect without OTEL_METRICS_EXPORTER=otlp"),
        ("[environment]\nOTEL_EXPORTER_OTLP_ENDPOINT = \"c\"", 2, "OTEL_EXPORTER_OTLP_ENDPOINT: invalid URL"),
        (
            "otlp = \"https://c\"\n[environment]\nOTEL_EXPORTER_OTLP_CERTIFICATE = \"/nonexistent/ca.pem\"",
            3,
            "OTEL_EXPORTER_OTLP_CERTIFICATE: /nonexistent/ca.pem: ",
        ),
    ] {
        let file = File::new(text);
        for more in [&["--check"][..], &["--print-config"], &[]] {
            let (status, _, errors) = run(&[&["--config", file.arg()], more].concat(), &[]);
            assert_eq!(status, 2, "{text}: {errors:#?}");
            let place = format!("spoa-otel: {}:{line}: ", file.arg());
            let found = errors.iter().any(|error| error.starts_with(&place) && error.contains(expected));
            assert!(found, "{text}: {errors:#?}");
            assert!(!format!("{errors:?}").contains("secret"), "{errors:#?}");
            assert!(!format!("{errors:?}").contains("ignored"), "{errors:#?}");
        }
    }
    let (status, _, errors) = run(&["--config", "/nonexistent.toml"], &[]);
    assert!(status == 2 && errors[0].contains("--config /nonexistent.toml: No such file"), "{errors:#?}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let file = File::new(
        "queue-spans = 0\nlisten = [\"a\", \"b\"]\nlog-listen = \"udp://0.0.0.0:1\"\n[environment]\nOTEL_X = \"\"\n",
    );
    let args = ["--check", "--config", file.arg(), "--grace=soon", "--no-such", "--admin", "nowhere"];
    let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", "c"), ("OTEL_BSP_SCHEDULE_DELAY", "soon")];
    let (status, _, errors) = run(&args, &env);
    assert_eq!(status, 2);
    for expected in [
        "'--grace <TIME>'",
        "'--no-such'",
        "'--admin <ADDR|none>'",
        "config.toml:1: ",
        "config.toml:2: invalid value 'a'",
        "config.toml:2: invalid value 'b'",
        "--log-listen udp://0.0.0.0:1: 0.0.0.0:1 is beyond loopback",
        "config.toml:5: OTEL_X is no variable",
        "OTEL_EXPORTER_OTLP_ENDPOINT: invalid URL",
    ] {
        assert_eq!(errors.iter().filter(|error| error.contains(expected)).count(), 1, "{expected}: {errors:#?}");
    }
    assert_eq!(errors.len(), 9, "{errors:#?}");
    // The process's variables are ignored with a warning, as ever.
    let (status, _, errors) = run(&["--check", "--otlp=http://c"], &env[1..]);
    assert_eq!((status, errors.len()), (0, 1), "{errors:#?}");
    assert!(errors[0].starts_with("spoa-otel: warning: OTEL_BSP_SCHEDULE_DELAY"), "{errors:#?}");
}

/// However much is wrong, it is told soon and in few lines.
#[test]
fn a_file_full_of_mistakes() {
    let file = File::new(&(0..9_000).map(|n| format!("listen-{n} = 1\n")).collect::<String>());
    let (status, _, errors) = run(&["--config", file.arg(), "--check"], &[]);
    assert_eq!((status, errors.len()), (2, 101), "{:#?}", &errors[..5]);
    assert!(errors[100].contains("more mistakes"), "{}", errors[100]);
}

#[test]
fn a_check_neither_listens_nor_connects() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let otlp = format!("http://{addr}");
    let (status, text, errors) = run(&["--check", "--listen", &addr, "--admin", &addr, "--otlp", &otlp], &[]);
    assert_eq!((status, text, errors), (0, String::new(), Vec::new()));
    taken.set_nonblocking(true).unwrap();
    assert!(taken.accept().is_err(), "nobody has connected");
}

/// The settings and where they come from, without that.
fn values(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
}

#[test]
fn what_is_printed_is_a_configuration_with_the_same_effect() {
    let file = File::new(
        "listen = [\"127.0.0.1:1\", \"unix:/tmp/a \\\"b\\\".sock\"]\nmax-memory = \"3MiB\"\nkeep-errors = true\nworkers = 3\n\
         sample = [\"path=/a*,ratio=0.5\"]\nlog-filter = \"a=debug,b=info\"\n[environment]\nOTEL_SERVICE_NAME = \"caf\u{e9}\"\n",
    );
    let env = [("OTEL_BSP_MAX_QUEUE_SIZE", "9"), ("OTEL_PROPAGATORS", "b3")];
    let args = ["--config", file.arg(), "--print-config"];
    let (status, text, _) = run(&[&args[..], &["--grace=3s"]].concat(), &env);
    assert_eq!(status, 0);
    let again = File::new(&text);
    // Without the environment, which is in it.
    let (status, printed, errors) = run(&["--config", again.arg(), "--print-config"], &[]);
    assert_eq!(status, 0, "{errors:#?}");
    assert_eq!(values(&printed), values(&text));
    for expected in ["grace = \"3s\"", "OTEL_BSP_MAX_QUEUE_SIZE = 9", "OTEL_PROPAGATORS = \"b3\"", "keep-errors = true"]
    {
        assert!(values(&text).iter().any(|line| line == expected), "{expected}: {text}");
    }
    assert_eq!(run(&["--config", again.arg(), "--check"], &[]).0, 0);
}

#[test]
fn secrets_are_not_printed() {
    let file = File::new("otlp = \"http://me:s3cr3t@c/?key=s3cr3t\"\n");
    let env = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer s3cr3t"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c/v1/metrics?token=s3cr3t"),
    ];
    let args = ["--config", file.arg()];
    let (_, text, errors) = run(&[&args[..], &["--print-config"]].concat(), &env);
    assert!(!format!("{text}{errors:?}").contains("s3cr3t"), "{text} {errors:#?}");
    assert!(printed("otlp", &args, &env).starts_with("# otlp = \"http://...@c/?...\""), "{text}");
    // What is left is no other configuration.
    assert_eq!(run(&["--config", File::new(&text).arg(), "--check"], &[]).0, 0);
}

#[test]
fn the_example_is_right_with_and_without_its_comments() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("spoa-otel.toml");
    let (status, _, errors) = run(&["--config", path.to_str().unwrap(), "--check"], &[]);
    assert_eq!((status, errors), (0, Vec::new()));
    let text = fs::read_to_string(path).unwrap();
    let is_setting = |line: &&str| {
        line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '['))
    };
    let settings: Vec<_> = text.lines().filter(is_setting).map(|line| &line[1..]).collect();
    assert!(settings.len() > 60, "{}", settings.len());
    // Its files, in a folder of ours, and an address that uses them.
    let files = Files::new();
    let (cert, key) = files.clients.certificate("agent");
    let folder = files.path("");
    for (name, content) in [
        ("cert.pem", cert),
        ("key.pem", key),
        ("haproxys.pem", files.clients.pem()),
        ("admin-tokens", "token\n".to_owned()),
        ("admin-users", "user:password\n".to_owned()),
        ("otlp-tokens", "token\n".to_owned()),
        ("otlp-users", "user:password\n".to_owned()),
    ] {
        files.write(name, &content);
    }
    let text = settings.join("\n").replace("/etc/spoa-otel/", folder.to_str().unwrap());
    let text = text.replace("listen = [\"127.0.0.1:7000\"]", "listen = [\"127.0.0.1:7000,tls\"]");
    let file = File::new(&text);
    let (status, _, errors) = run(&["--config", file.arg(), "--check"], &[]);
    assert_eq!((status, errors), (0, Vec::new()));
}
