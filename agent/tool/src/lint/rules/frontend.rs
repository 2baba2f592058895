//! What a frontend and its rules have to have.

use super::super::condition::Version;
use super::super::context::{Context, Engine};
use super::super::finding::{Findings, Level::Error, Level::Warning, Rule};

static INSPECT_DELAY: Rule = Rule {
    name: "inspect-delay",
    level: Error,
    about: "`tcp-request content send-spoe-group` without `tcp-request inspect-delay` sends nothing, in silence",
};
static CACHED_502: Rule = Rule {
    name: "cache-with-response-events",
    level: Error,
    about: "with messages on on-server-session or on-tcp-response each hit of HAProxy's cache becomes a 502, from 3.2 on",
};
static ABORTS: Rule = Rule {
    name: "aborts-haproxy",
    level: Error,
    about: "with messages on on-server-session or on-tcp-response HAProxy 3.4 aborts when a server closes without an answer",
};
static HANGS: Rule = Rule {
    name: "forgets-timeout",
    level: Warning,
    about: "HAProxy 2.6 before 2.6.17 and 2.8 before 2.8.8 may forget `timeout processing` when the agent ends; with `option contstats` they look again",
};
static RECONNECTS: Rule = Rule {
    name: "reconnect-loop",
    level: Warning,
    about: "up to 3.0 HAProxy reconnects in a tight loop to an agent that fails, unless `maxconnrate` limits it",
};

pub(crate) static UNREAD_FILE: Rule = Rule {
    name: "unread-file",
    level: Warning,
    about: "an SPOE file that a filter names is not there, so nothing in it was looked at",
};

pub(super) static RULES: &[&Rule] = &[&UNREAD_FILE, &INSPECT_DELAY, &CACHED_502, &ABORTS, &HANGS, &RECONNECTS];

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    for proxy in context.haproxy {
        let group = proxy.lines.iter().find(|line| line.is(&["tcp-request", "content", "send-spoe-group"]));
        let Some(line) = group else { continue };
        if !context.inherited(proxy).iter().any(|line| line.is(&["tcp-request", "inspect-delay"])) {
            let text = "without `tcp-request inspect-delay TIME` this group is never sent";
            findings.add(context.version, &INSPECT_DELAY, line, text);
        }
    }
    for engine in &context.engines {
        check_engine(context, engine, findings);
    }
}

fn check_engine(context: &Context<'_>, engine: &Engine<'_>, findings: &mut Findings) {
    let version = context.version;
    let caches = context.haproxy.iter().any(|proxy| proxy.has(&["http-request", "cache-use"]));
    for message in engine.sections("spoe-message") {
        for event in
            message.all(&["event"]).filter(|event| matches!(event.word(1), "on-server-session" | "on-tcp-response"))
        {
            let name = event.word(1);
            if caches && version >= Version(3, 2) {
                let text = format!(
                    "with {name} each hit of the cache becomes a 502: take an event before it, such as on-backend-http-request"
                );
                findings.add(version, &CACHED_502, event, text);
            }
            if version >= Version(3, 4) {
                let text = format!(
                    "with {name} HAProxy aborts when a server closes without an answer: take on-backend-http-request or on-http-response"
                );
                findings.add(version, &ABORTS, event, text);
            }
        }
    }
    let Some(proxy) = engine.proxy else { return };
    let of_clients = matches!(proxy.kind(), "frontend" | "listen");
    if of_clients
        && version < Version(3, 0)
        && !context.inherited(proxy).iter().any(|line| line.is(&["option", "contstats"]))
    {
        let text =
            "before 2.6.17 and 2.8.8 a request may hang for as long as its agent is away: add `option contstats`";
        findings.add(version, &HANGS, engine.filter(proxy), text);
    }
    if version < Version(3, 1) {
        for agent in engine.sections("spoe-agent").filter(|agent| !agent.has(&["maxconnrate"])) {
            let text = "HAProxy connects in a tight loop to an agent that fails: add `maxconnrate 200`";
            findings.add(version, &RECONNECTS, &agent.head, text);
        }
    }
}
