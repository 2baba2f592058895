//! Agents, messages and groups, and how they belong together.

use std::collections::HashSet;

use super::super::context::{Context, Engine, arguments};
use super::super::finding::{Findings, Level::Error, Level::Warning, Rule};
use super::super::model::{Line, Section};

static MESSAGE_UNLISTED: Rule = Rule {
    name: "message-unlisted",
    level: Error,
    about: "a message that neither an agent nor a group lists is never sent",
};
static MESSAGE_WITHOUT_EVENT: Rule = Rule {
    name: "message-without-event",
    level: Error,
    about: "a message without an event is sent only as a part of a group",
};
static EVENT_UNUSED: Rule = Rule {
    name: "event-unused",
    level: Warning,
    about: "of a message that only a group lists, and of all but the last `event` of a message, the event does nothing",
};
static VARIABLE_TOO_LONG: Rule = Rule {
    name: "variable-too-long",
    level: Error,
    about: "a variable's name has 63 characters with its scope and prefix: HAProxy sets none that is longer, in silence",
};
static GROUP_UNLISTED: Rule =
    Rule { name: "group-unlisted", level: Error, about: "a group that no agent lists cannot be sent" };
static GROUP_UNSENT: Rule =
    Rule { name: "group-unsent", level: Error, about: "a group is sent by a rule send-spoe-group, and none does it" };
static BACKEND_WITHOUT_SERVER: Rule =
    Rule { name: "backend-without-server", level: Error, about: "an agent's backend needs a server" };
static CONTINUE_ON_ERROR: Rule = Rule {
    name: "continue-on-error",
    level: Warning,
    about: "without `option continue-on-error` one failed event costs all later ones of the stream",
};
static TIMEOUT_PROCESSING: Rule = Rule {
    name: "timeout-processing",
    level: Error,
    about: "without `timeout processing` an agent in trouble stalls requests for as long as it likes",
};
static TOO_MANY_ARGUMENTS: Rule = Rule {
    name: "too-many-arguments",
    level: Error,
    about: "a message has a count of one byte: 255 arguments at most",
};
static FRAME_TOO_BIG: Rule = Rule {
    name: "frame-too-big",
    level: Warning,
    about: "a NOTIFY has to fit tune.bufsize and max-frame-size; one that does not is not sent, or in fragments up to HAProxy 3.0",
};
static SEVERAL_AGENTS: Rule = Rule {
    name: "several-servers",
    level: Warning,
    about: "messages with id= need one agent: the events of a request go to any server of the backend",
};

pub(super) static RULES: &[&Rule] = &[
    &MESSAGE_UNLISTED,
    &MESSAGE_WITHOUT_EVENT,
    &EVENT_UNUSED,
    &GROUP_UNLISTED,
    &GROUP_UNSENT,
    &BACKEND_WITHOUT_SERVER,
    &CONTINUE_ON_ERROR,
    &TIMEOUT_PROCESSING,
    &TOO_MANY_ARGUMENTS,
    &FRAME_TOO_BIG,
    &VARIABLE_TOO_LONG,
    &SEVERAL_AGENTS,
];

/// HAProxy's tune.bufsize if nothing else is set.
const BUFSIZE: usize = 16_384;
/// HAProxy's longest name of a variable.
const MAX_VARIABLE: usize = 63;
/// What HAProxy keeps free in a frame for its header.
const HEADERS: usize = 32;
/// Type and length of a value, and the length of its key.
const TYPED: usize = 4;

fn listed<'s>(section: &'s Section, word: &'s str) -> impl Iterator<Item = &'s str> {
    section
        .all(std::slice::from_ref(&LISTS[usize::from(word == "groups")]))
        .flat_map(|line| line.words.iter().skip(1).map(String::as_str))
}

const LISTS: [&str; 2] = ["messages", "groups"];

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    for engine in &context.engines {
        check_engine(context, engine, findings);
    }
}

fn check_engine(context: &Context<'_>, engine: &Engine<'_>, findings: &mut Findings) {
    let version = context.version;
    let agents: Vec<_> = engine.sections("spoe-agent").collect();
    let messages_of_agents: HashSet<_> = agents.iter().flat_map(|agent| listed(agent, "messages")).collect();
    let groups_of_agents: HashSet<_> = agents.iter().flat_map(|agent| listed(agent, "groups")).collect();
    let groups: Vec<_> = engine.sections("spoe-group").collect();
    let messages_of_groups: HashSet<_> = groups.iter().flat_map(|group| listed(group, "messages")).collect();
    for message in engine.sections("spoe-message") {
        let (by_agent, by_group) =
            (messages_of_agents.contains(message.name()), messages_of_groups.contains(message.name()));
        if !by_agent && !by_group {
            let text = format!(
                "no agent and no group lists the message {}: add it to `messages`, or take it out",
                message.name()
            );
            findings.add(version, &MESSAGE_UNLISTED, &message.head, text);
        } else if by_agent && !by_group && !message.has(&["event"]) {
            let text = format!(
                "the message {} has no `event`, so it is never sent by itself: name one, or list it in a group only",
                message.name()
            );
            findings.add(version, &MESSAGE_WITHOUT_EVENT, &message.head, text);
        }
        let events: Vec<_> = message.all(&["event"]).collect();
        let unused = if by_agent || !by_group { events.len().saturating_sub(1) } else { events.len() };
        for event in events.into_iter().take(unused) {
            let text = if by_agent {
                format!(
                    "of several events of the message {} the last one counts: make a message for each",
                    message.name()
                )
            } else {
                format!(
                    "only a group lists the message {}, so this event never sends it: add it to `messages`",
                    message.name()
                )
            };
            findings.add(version, &EVENT_UNUSED, event, text);
        }
        let count = arguments(message).count();
        if count > 255 {
            let text = format!("the message {} has {count} arguments, of which HAProxy can send 255", message.name());
            findings.add(version, &TOO_MANY_ARGUMENTS, &message.head, text);
        }
    }
    for group in groups {
        if !groups_of_agents.contains(group.name()) {
            let text = format!("no agent lists the group {}: add it to `groups`", group.name());
            findings.add(version, &GROUP_UNLISTED, &group.head, text);
        }
    }
    // HAProxy refuses a second one.
    if let Some(agent) = agents.first() {
        check_agent(context, engine, agent, findings);
        check_size(context, engine, agent, findings);
        check_variables(context, engine, agent, findings);
    }
}

fn check_agent(context: &Context<'_>, engine: &Engine<'_>, agent: &Section, findings: &mut Findings) {
    let version = context.version;
    let names: HashSet<_> = listed(agent, "messages").collect();
    let messages = engine.sections("spoe-message").filter(|message| names.contains(message.name()));
    let events: HashSet<_> = messages.filter_map(|message| Some(message.all(&["event"]).last()?.word(1))).collect();
    let occasions = events.len() + listed(agent, "groups").count();
    if occasions > 1 && !agent.has(&["option", "continue-on-error"]) {
        let text = "add `option continue-on-error`, or one event that fails costs all later ones of the stream";
        findings.add(version, &CONTINUE_ON_ERROR, &agent.head, text);
    }
    if !agent.has(&["timeout", "processing"]) {
        let text = "add `timeout processing TIME`: the most that an agent in trouble may cost a request";
        findings.add(version, &TIMEOUT_PROCESSING, &agent.head, text);
    }
    if engine.proxy.is_some() {
        let sent: HashSet<_> =
            context.sent_groups().filter(|(by, _)| *by == engine.name).map(|(_, group)| group).collect();
        for line in agent.all(&["groups"]) {
            for group in line.words.iter().skip(1) {
                if !sent.contains(group.as_str()) {
                    let text = format!(
                        "no rule sends the group {group}: `http-request send-spoe-group {} {group}`",
                        engine.name
                    );
                    findings.add(version, &GROUP_UNSENT, line, text);
                }
            }
        }
    }
    if let Some(line) = agent.all(&["use-backend"]).last() {
        let of_name =
            |section: &&Section| matches!(section.kind(), "backend" | "listen") && section.name() == line.word(1);
        let Some(backend) = context.haproxy.iter().find(of_name) else { return };
        let servers = backend.lines.iter().filter(|line| matches!(line.word(0), "server" | "server-template")).count();
        if servers == 0 {
            let text = format!("the backend {} has no server, so no message is ever answered", backend.name());
            findings.add(version, &BACKEND_WITHOUT_SERVER, &backend.head, text);
        }
        let keeps = |message: &Section| {
            super::language::is_ours(message.name()) && arguments(message).any(|(_, key, _)| key == Some("id"))
        };
        let active = |line: &&Line| matches!(line.word(0), "server") && !line.words.iter().any(|word| word == "backup");
        let template = |line: &Line| line.word(0) == "server-template" && line.word(2) != "1";
        let several =
            backend.lines.iter().filter(active).nth(1).or_else(|| backend.lines.iter().find(|line| template(line)));
        if let (Some(second), true) = (several, engine.sections("spoe-message").any(keeps)) {
            let text = "the messages of a request need one and the same agent, since they have id=: leave one server, or make the others `backup`";
            findings.add(version, &SEVERAL_AGENTS, second, text);
        }
    }
}

/// The longest name that is known to be set.
fn check_variables(context: &Context<'_>, engine: &Engine<'_>, agent: &Section, findings: &mut Findings) {
    let options = ["set-on-error", "set-process-time", "set-total-time"];
    let of_options = agent.all(&["option"]).filter(|line| options.contains(&line.word(1))).map(|line| line.word(2));
    let registered = agent.all(&["register-var-names"]).flat_map(|line| line.words.iter().skip(1).map(String::as_str));
    let ours = engine.sections("spoe-message").any(|message| super::language::is_ours(message.name()));
    let names = of_options.chain(registered).chain(ours.then_some("traceparent"));
    let Some(longest) = names.max_by_key(|name| name.len()) else { return };
    let option = agent.all(&["option", "var-prefix"]).last();
    let (line, prefix) = option.map_or((&agent.head, agent.name()), |line| (line, line.word(2)));
    let name = format!("txn.{prefix}.{longest}");
    if name.len() > MAX_VARIABLE {
        let text = format!(
            "{name} is longer than {MAX_VARIABLE} characters and never set: `option var-prefix` with a shorter one"
        );
        findings.add(context.version, &VARIABLE_TOO_LONG, line, text);
    }
}

/// By the bounds that the arguments have themselves.
fn check_size(context: &Context<'_>, engine: &Engine<'_>, agent: &Section, findings: &mut Findings) {
    let global = context.haproxy.iter().filter(|section| section.kind() == "global");
    let bufsize = global.flat_map(|section| section.all(&["tune.bufsize"])).find_map(|line| line.word(1).parse().ok());
    let limit = agent.all(&["max-frame-size"]).find_map(|line| line.word(1).parse::<usize>().ok());
    let bufsize: usize = bufsize.unwrap_or(BUFSIZE);
    let limit = limit.unwrap_or(usize::MAX).min(bufsize.saturating_sub(4)).saturating_sub(HEADERS);
    let mut by_event = std::collections::BTreeMap::<String, (usize, Vec<&str>, &Section)>::new();
    let names: HashSet<_> = listed(agent, "messages").collect();
    for message in engine.sections("spoe-message").filter(|message| names.contains(message.name())) {
        // The last one counts.
        let Some(event) = message.all(&["event"]).last() else { continue };
        let size = arguments(message).map(|(_, key, sample)| key.map_or(0, str::len) + bound(sample, bufsize) + TYPED);
        let of_event = by_event.entry(event.word(1).to_owned()).or_insert((0, Vec::new(), message));
        of_event.0 += size.sum::<usize>();
        of_event.1.push(message.name());
    }
    for (event, (size, names, message)) in by_event {
        if size > limit {
            let text = format!(
                "the messages of {event} ({}) may take {size} bytes by their own bounds, and a NOTIFY {limit} at most: cut more, or raise tune.bufsize",
                names.join(", ")
            );
            findings.add(context.version, &FRAME_TOO_BIG, &message.head, text);
        }
    }
}

/// The most bytes of a sample that is cut by `bytes(OFFSET,LENGTH)` at its end, or of a constant; others say nothing of theirs.
fn bound(sample: &str, bufsize: usize) -> usize {
    if let Some(text) = sample.strip_prefix("str(").and_then(|rest| rest.strip_suffix(')')) {
        return text.len();
    }
    let length = sample.rsplit_once(",bytes(").and_then(|(_, rest)| rest.strip_suffix(')')?.split_once(','));
    length.and_then(|(_, length)| length.trim().parse().ok()).unwrap_or(0).min(bufsize)
}
