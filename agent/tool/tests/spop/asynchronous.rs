//! `option async` of HAProxy up to 3.0: an agent whose connections are cut under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use spop_agent::{Answer, Request, Scope, Server, ServerConfig, StatsSnapshot};
use tokio::sync::oneshot;

use crate::proxy::{Proxy, is_old, with_each};
use crate::serve::Listening;
use crate::support::{say, until};

const SPOE: &str = "\
[all]
spoe-agent all
    messages slow
    option async
    option var-prefix rep
    option continue-on-error
    timeout hello 5s
    timeout idle 30s
    timeout processing 3s
    use-backend agents
spoe-message slow
    args path=path
    event on-frontend-http-request
";

const CLIENTS: usize = 16;
const REQUESTS: usize = 20;

async fn answer_after(time: Duration) -> spop_agent::Result<Answer> {
    tokio::time::sleep(time).await;
    let mut answer = Answer::new();
    answer.set_var(Scope::Session, "done", true);
    Ok(answer)
}

/// How many requests got no answer of the agent, how many connections were cut, and what the agent counted.
fn cut_under_load(program: &str, async_answers: bool) -> (usize, usize, StatsSnapshot) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let asked = Arc::<AtomicUsize>::default();
    // One after the other, so that some are always under way.
    let handler = move |_: Request| {
        let time = Duration::from_millis(5 + 7 * asked.fetch_add(1, Relaxed) as u64 % 90);
        answer_after(time)
    };
    let mut config = ServerConfig::default();
    config.async_answers = async_answers;
    let server = runtime.block_on(Server::new_async(handler).config(config).bind("127.0.0.1:0")).unwrap();
    let (addr, stats) = (server.addrs().next().unwrap().to_string(), server.stats());
    let (stop, stopped) = oneshot::channel::<()>();
    let agent = runtime.spawn(server.run(async {
        let _ = stopped.await;
    }));
    let relay = Listening::start(&["relay", "127.0.0.1:0", &addr, "--quiet", "--cut", "1/20"]);
    let haproxy = Proxy::with_threads(program, 4, &relay.addr, SPOE, "done=%[var(sess.rep.done)];");
    until("the agent is up", || haproxy.get("/", "").contains("done=1;"));
    let unanswered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                for _ in 0..REQUESTS {
                    let answer = haproxy.get("/", "");
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                    unanswered.fetch_add(usize::from(!answer.contains("done=1;")), Relaxed);
                }
            });
        }
    });
    haproxy.stop();
    let told = relay.stop().ok().stderr;
    let cut =
        told.lines().find_map(|line| line.strip_prefix("spop: ")?.strip_suffix(" connections cut")).unwrap_or("0");
    let _ = stop.send(());
    runtime.block_on(agent).unwrap();
    (unanswered.into_inner(), cut.parse().unwrap(), stats.snapshot())
}

/// Of a connection that is cut only the answer is lost in the middle of which it was cut: others are answered elsewhere.
#[test]
fn what_a_cut_connection_left_is_answered_on_another() {
    with_each(|program, version| {
        if !is_old(version) {
            return;
        }
        let (without, cut_without, stats) = cut_under_load(program, false);
        assert_eq!(stats.answered_elsewhere, 0, "{version}");
        // How HAProxy spreads its NOTIFYs over connections is chance.
        let rounds = (0..5).map(|_| cut_under_load(program, true));
        let (with, cut, stats) = rounds.into_iter().find(|(_, _, stats)| stats.answered_elsewhere > 0).unwrap();
        say(&format!(
            "HAProxy {version}: of {} requests {without} unanswered at {cut_without} cuts; with async {with} at {cut} cuts, {} answered elsewhere",
            CLIENTS * REQUESTS,
            stats.answered_elsewhere
        ));
        assert!(
            cut > 0 && with <= cut + stats.unanswered as usize,
            "{version}: {with} unanswered, {cut} cuts, {stats:?}"
        );
        assert_eq!(stats.notifies, stats.acks + stats.unanswered, "{version}: {stats:?}");
    });
}
