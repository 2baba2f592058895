//! HAProxy starts the agent itself (`program`) and sends it SIGUSR1 when it reloads or stops softly: it ends in good order.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::collector::Collector;
use crate::haproxy::{Program, programs};
use crate::http::http_client;
use crate::origin::Origin;
use crate::process::{Process, eventually, free_port};

/// HAProxy's master, which takes its worker and its program along when the test fails.
struct Master(Process);

impl Drop for Master {
    fn drop(&mut self) {
        if std::thread::panicking() && self.0.is_alive() {
            self.0.signal("-TERM");
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

#[tokio::test]
async fn no_request_is_cut_and_no_span_lost() {
    // There is no such section from 3.3 on.
    for program in programs().iter().filter(|program| program.version < (3, 3)) {
        reload_and_stop(program).await;
    }
}

async fn reload_and_stop(program: &Program) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let collector = Collector::start().await;
    let origin = Origin::start().await;
    let [proxy, agent] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
    let mut command = Command::new(&program.path);
    command.args(["-W", "-f"]).arg(data.join("program-section/haproxy.cfg")).envs([
        ("PROXY_ADDRESS", &*proxy),
        ("BACKEND_ADDRESS", &origin.addr),
        ("AGENT", env!("CARGO_BIN_EXE_spoa-otel")),
        ("AGENT_ADDRESS", &agent),
        ("COLLECTOR", &collector.url),
        ("SPOE_CFG", data.join("seed-style/spoe.cfg").to_str().unwrap()),
        ("NO_COLOR", "1"),
    ]);
    let mut master = Master(Process::start(&format!("haproxy {:?} with a program", program.version), &mut command));
    master.0.line("the agent listens", |line| line.contains("kind=spop").then_some(())).await;
    eventually("HAProxy listens", || std::net::TcpStream::connect(&proxy).ok()).await;
    let http = http_client();
    let get = |path: &str| http.get(format!("http://{proxy}{path}")).send();
    assert_eq!(get("/").await.unwrap().status(), 200);
    collector.wait_for(9).await;

    // A reload, by which another agent takes over, and a soft stop.
    for (n, signal) in ["-USR2", "-USR1"].into_iter().enumerate() {
        let slow = tokio::spawn(get("/slow"));
        let seen = || origin.hits().iter().filter(|hit| hit.path == "/slow").count();
        eventually("the slow request is under way", || (seen() > n).then_some(())).await;
        master.0.signal(signal);
        assert_eq!(slow.await.unwrap().unwrap().status(), 200, "{program:?} {signal}");
        if signal == "-USR2" {
            let agents = || master.0.output().iter().filter(|line| line.contains("kind=spop")).count();
            eventually("another agent", || (agents() == 2).then_some(())).await;
            let spans = collector.spans().len();
            while collector.spans().len() < spans + 9 {
                assert_eq!(get("/").await.unwrap().status(), 200, "{program:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    assert_eq!(master.0.ended().await.code(), Some(0), "{program:?}");
    let output = master.0.output();
    let count = |text: &str| output.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("spoa_otel::stop: stopped"), count("exit-on-failure")), (2, 0), "{output:#?}");
    // What was open was ended and sent.
    let spans = collector.spans();
    assert!(spans.iter().any(|span| span.tag("haproxy.span.end").as_deref() == Some("shutdown")), "{spans:#?}");
}
