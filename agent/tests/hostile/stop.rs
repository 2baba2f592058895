//! An agent that is told to stop while peers do their worst ends in time, with a good word for those who listen.

use std::process::Command;
use std::time::Duration;

use crate::agent::{BOTH, LiveAgent, Program, figure};
use crate::process::Process;
use crate::programs::example;
use crate::raw::{Raw, Reply};
use crate::wire::{NOTIFY, frame, hello, message, notify};

#[tokio::test]
async fn no_peer_holds_up_the_stop() {
    for program in BOTH {
        let agent = LiveAgent::start(program, &["--grace", "2s"]).await;
        let mut good = Raw::running(&agent.addr).await;
        let (_silent, mut half, mut fragment) =
            (Raw::connect(&agent.addr).await, Raw::running(&agent.addr).await, Raw::running(&agent.addr).await);
        half.send(&notify(1, 1)[..10]).await;
        fragment.send(&frame(NOTIFY, 0, 1, 1, &message("m", &[]))).await;
        let mut flood = Raw::connect_narrow(&agent.addr).await;
        flood.send(&hello()).await;
        let frames = notify(1, 1).repeat(1000);
        // It takes no more once the agent cannot write.
        while tokio::time::timeout(Duration::from_millis(500), flood.send(&frames)).await.is_ok() {}
        agent.process.signal("-TERM");
        for raw in [&mut good, &mut half, &mut fragment] {
            assert_eq!(raw.replies().await, [Reply::Disconnect(0), Reply::End], "{program:?}");
        }
        let log = agent.ended().await;
        let cut_off = log.iter().any(|line| line.contains("not all connections ended within the grace time"));
        assert!(cut_off, "{program:?}: {log:#?}");
        if program == Program::SpoaOtel {
            assert_eq!(figure(&log, "report: connections ended", "connections"), 7, "{log:#?}");
        }
    }
}

#[tokio::test]
async fn each_signal_to_stop_ends_in_good_order_and_sighup_does_not() {
    for program in BOTH {
        for signal in ["-TERM", "-INT", "-USR1"] {
            let mut agent = LiveAgent::start(program, &[]).await;
            agent.process.signal("-HUP");
            let told = if program == Program::SpoaOtel { "configuration is in use" } else { "SIGHUP is ignored" };
            agent.process.line("SIGHUP", |line| line.contains(told).then_some(())).await;
            agent.serves("SIGHUP").await;
            agent.process.signal(signal);
            let log = agent.ended().await;
            let named = format!("signal=\"SIG{}\"", &signal[1..]);
            assert!(log.iter().any(|line| line.contains(&named)), "{program:?} {signal}: {log:#?}");
        }
    }
}

/// The agent without the runtime stops in the same way.
#[tokio::test]
async fn each_signal_ends_the_barest_agent_in_good_order() {
    for signal in ["-TERM", "-INT", "-USR1"] {
        let mut echo = Process::start("echo", Command::new(example("echo")).arg("127.0.0.1:0"));
        let addr = echo.line("listens", |line| line.strip_prefix("listening on ").map(str::to_owned)).await;
        let mut raw = Raw::connect(&addr).await;
        raw.send(&hello()).await;
        assert!(matches!(raw.reply().await, Reply::Hello(..)));
        echo.signal("-HUP");
        echo.line("SIGHUP", |line| line.contains("SIGHUP is ignored").then_some(())).await;
        raw.send(&notify(1, 1)).await;
        assert_eq!(raw.reply().await, Reply::Ack(1, 1));
        echo.signal(signal);
        assert_eq!(raw.replies().await, [Reply::Disconnect(0), Reply::End], "{signal}");
        assert!(echo.ended().await.success(), "{signal}");
    }
}
