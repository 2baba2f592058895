//! Headers of several lines, as `extract-tracestate=` and `extract-baggage=` take them, and of those that come once.

use spoa_otel::tracer::Propagators;
use spop_core::Value;

use crate::message;
use crate::support::{Agent, Message, Var, var};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NULL: Value<'static> = Value::Null;

/// As the shipped configurations ask for it: the numbers of lines, and four lines of each list with the length of their cut.
fn request<'a>(traceparents: &[&'a str], tracestates: &[&'a str], baggages: &[&'a str]) -> Message<'a> {
    let mut message = message!("otel:a", "id" = "1");
    let count = |lines: &[&str]| Value::Int64(lines.len() as i64);
    let last = traceparents.last().map_or(NULL, |line| Value::from(*line));
    message.args.extend([("extract", count(traceparents)), ("", last)]);
    for (key, lines, cut) in [("extract-tracestate", tracestates, 513), ("extract-baggage", baggages, 8193)] {
        message.args.push((key, count(lines)));
        for n in 0..4 {
            let line = lines.get(n).map_or(NULL, |line| Value::from(line.get(..cut).unwrap_or(line)));
            message.args.extend([("", line), ("", Value::Int64(cut as i64))]);
        }
    }
    message.args.extend([("inject", "S".into()), ("span", "S".into())]);
    message
}

fn find<'a>(vars: &'a [Var], name: &str) -> Option<&'a str> {
    vars.iter().find(|var| var.name == name).map(|var| var.value.as_str())
}

#[test]
fn lines_of_a_list_are_one_list() {
    let cases: [(&[&str], Option<&str>); 7] = [
        (&[], None),
        (&["a=1,b=2"], Some("a=1,b=2")),
        (&["a=1,b=2", "c=3,d=4", "e=5"], Some("a=1,b=2,c=3,d=4,e=5")),
        (&["", "a=1"], Some("a=1")),
        (&["a=1", ""], Some("a=1")),
        (&["a=1", "a=2", " \t", "b=3"], Some("a=1,a=2,b=3")),
        (&["a=1", "B=2"], None),
    ];
    for (lines, expected) in cases {
        let agent = Agent::new();
        let vars = agent.notify(0, &[request(&[TRACEPARENT], lines, lines)]);
        assert_eq!((var(&vars, "trace_id"), find(&vars, "tracestate")), (TRACE, expected), "{lines:?}");
        let baggage = match lines {
            // Baggage has unique keys, and leaves out single members.
            ["a=1", "a=2", ..] => Some("a=2,b=3"),
            ["a=1", "B=2"] => Some("a=1,B=2"),
            _ => expected,
        };
        assert_eq!(find(&vars, "baggage"), baggage, "{lines:?}");
        let stats = agent.stats();
        assert_eq!((stats.lines_missed, stats.lines_cut, stats.args_surplus, stats.args_unknown), (0, 0, 0, 0));
        agent.notify(1, &[message!("otel:b", "id" = "1", "finish" = "*")]);
        assert_eq!(agent.take().one().tracestate.as_deref(), expected);
    }
}

#[test]
fn lines_beyond_those_that_the_message_takes_are_counted() {
    let agent = Agent::new();
    let lines = ["a=1", "b=2", "c=3", "d=4", "e=5", "f=6"];
    let vars = agent.notify(0, &[request(&[TRACEPARENT], &lines, &lines[..5])]);
    assert_eq!(find(&vars, "tracestate"), Some("a=1,b=2,c=3,d=4"));
    assert_eq!(find(&vars, "baggage"), Some("a=1,b=2,c=3,d=4"));
    assert_eq!(agent.stats().lines_missed, 2 + 1);
}

#[test]
fn a_cut_line_ends_with_its_last_whole_member() {
    let agent = Agent::new();
    let long = (0..100).map(|n| format!("key{n}=a-long-value-{n}")).collect::<Vec<_>>().join(",");
    let vars = agent.notify(0, &[request(&[TRACEPARENT], &[&long], &[])]);
    let state = find(&vars, "tracestate").unwrap();
    assert!(long.starts_with(&format!("{state},")), "whole members: {state}");
    assert!((490..=512).contains(&state.len()), "{}", state.len());
    assert_eq!((agent.stats().lines_cut, agent.stats().extracts_invalid), (1, 0));
}

#[test]
fn a_tracestate_and_baggage_of_the_greatest_length_go_on_whole() {
    let agent = Agent::new();
    let state = format!("a={},b={}", "x".repeat(252), "y".repeat(255));
    let baggage = format!("k={}", "v".repeat(8190));
    assert_eq!((state.len(), baggage.len()), (512, 8192));
    let vars = agent.notify(0, &[request(&[TRACEPARENT], &[&state], &[&baggage])]);
    assert_eq!((find(&vars, "tracestate"), find(&vars, "baggage")), (Some(&*state), Some(&*baggage)));
    assert_eq!(agent.stats().lines_cut, 0);
}

#[test]
fn the_limits_are_those_of_the_whole_list() {
    let line = |from: usize, to: usize| (from..to).map(|n| format!("k{n:02}={n:02}")).collect::<Vec<_>>().join(",");
    let lines = [line(0, 10), line(10, 20), line(20, 30), line(30, 32)];
    let told = |lines: &[String]| {
        let agent = Agent::new();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let vars = agent.notify(0, &[request(&[TRACEPARENT], &lines, &[])]);
        (find(&vars, "tracestate").map(str::to_owned), agent.stats().extracts_invalid, agent.stats().tracestate_dropped)
    };
    assert_eq!(told(&lines), (Some(lines.join(",")), 0, 0));
    let too_many = [&lines[..3], &[line(30, 33)]].concat();
    assert_eq!(told(&too_many), (None, 1, 0));
    // 258 bytes each: the second one does not fit beside the first.
    let long = ["a", "b"].map(|key| format!("{key}={}", "z".repeat(256)));
    assert_eq!(told(&long), (Some(long[0].clone()), 0, 1));
    let key = "z".repeat(256);
    assert_eq!(told(&["foo=1".into(), format!("{key}=1")]), (Some(format!("foo=1,{key}=1")), 0, 0));
    assert_eq!(told(&["foo=1".into(), format!("{key}z=1")]), (None, 1, 0));
}

#[test]
fn several_traceparents_are_none() {
    let other = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for lines in [[TRACEPARENT, other], [other, TRACEPARENT], [TRACEPARENT, TRACEPARENT], [TRACEPARENT, ""]] {
        let agent = Agent::new();
        let vars = agent.notify(0, &[request(&lines, &["a=1"], &["k=v"])]);
        let trace_id = var(&vars, "trace_id");
        assert!(!lines.iter().any(|line| line.contains(trace_id)), "a new trace: {trace_id}");
        assert_eq!((find(&vars, "tracestate"), find(&vars, "baggage")), (None, Some("k=v")));
        assert_eq!(agent.stats().extracts_invalid, 1);
    }
}

#[test]
fn several_lines_of_other_formats_are_none_either() {
    let b3 = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1";
    let jaeger = "80f198ee56343ba864fe8b2a57d3eff7:e457b5a2e4d86bd1:0:1";
    let ids = [Value::from("80f198ee56343ba864fe8b2a57d3eff7"), "e457b5a2e4d86bd1".into(), "1".into(), NULL];
    let cases: [(&str, usize, Vec<Value<'_>>); 3] = [
        ("extract-b3", 1, vec![b3.into()]),
        ("extract-jaeger", 1, vec![jaeger.into()]),
        ("extract-b3multi", 4, ids.to_vec()),
    ];
    for (key, numbers, values) in cases {
        for several in (0..numbers).map(Some).chain([None]) {
            let agent = Agent::with(|config| config.propagators = Propagators::new(Some("b3,b3multi,jaeger")).unwrap());
            let mut message = message!("otel:a", "id" = "1", "inject" = "S");
            let counts = (0..numbers).map(|n| Value::Int64(if Some(n) == several { 2 } else { 1 }));
            let mut args: Vec<_> = counts.chain(values.iter().copied()).map(|value| ("", value)).collect();
            args[0].0 = key;
            message.args.splice(1..1, args);
            let vars = agent.notify(0, &[message]);
            let joined = var(&vars, "trace_id") == "80f198ee56343ba864fe8b2a57d3eff7";
            let stats = agent.stats();
            let expected = (several.is_none(), u64::from(several.is_some()), 0);
            assert_eq!((joined, stats.extracts_invalid, stats.args_surplus), expected, "{key} {several:?}");
        }
    }
}

#[test]
fn the_forms_add_up_wherever_they_stand() {
    let agent = Agent::new();
    let message = message!(
        "otel:a",
        "id" = "1",
        "extract-tracestate" = "b=2",
        "extract-baggage" = "l=2",
        "extract" = TRACEPARENT,
        "" = "a=1",
        "" = "k=1",
        "extract-tracestate" = "c=3",
        "span" = "S",
        "inject" = "S",
        "extract-tracestate" = "d=4",
        "extract-baggage" = "m=3",
    );
    let vars = agent.notify(0, &[message]);
    assert_eq!((find(&vars, "tracestate"), find(&vars, "baggage")), (Some("a=1,b=2,c=3"), Some("l=2,k=1")));
    assert_eq!(agent.stats().extracts_late, 2, "inject= binds");
}

#[test]
fn a_list_alone_binds_nothing() {
    let agent = Agent::new();
    agent.notify(
        0,
        &[message!("otel:a", "id" = "1", "span" = "A", "extract-tracestate" = "a=1", "extract-baggage" = "k=v")],
    );
    let vars = agent.notify(1, &[request(&[TRACEPARENT], &["b=2"], &[])]);
    assert_eq!((var(&vars, "trace_id"), var(&vars, "tracestate"), var(&vars, "baggage")), (TRACE, "b=2", "k=v"));
}

#[test]
fn lists_of_propagators_that_are_off_are_left_alone() {
    for (list, tracestate, baggage) in
        [("tracecontext", Some("a=1"), None), ("baggage", None, Some("k=v")), ("b3", None, None)]
    {
        let agent = Agent::with(|config| config.propagators = Propagators::new(Some(list)).unwrap());
        let message = message!(
            "otel:a",
            "id" = "1",
            "extract" = 1,
            "" = TRACEPARENT,
            "extract-tracestate" = "a=1",
            "extract-baggage" = "k=v",
            "inject" = "S"
        );
        let vars = agent.notify(0, &[message]);
        assert_eq!((find(&vars, "tracestate"), find(&vars, "baggage")), (tracestate, baggage), "{list}");
        let off = [tracestate, baggage].iter().filter(|value| value.is_none()).count();
        let off = off + usize::from(list == "b3");
        assert_eq!(agent.stats().extracts_off, off as u64, "{list}");
    }
}
