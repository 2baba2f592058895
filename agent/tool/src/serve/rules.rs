//! Rules: what a NOTIFY has to look like, and what is answered.
//!
//! A rule is `on WHEN` with one or more `DO`, on the command line (`--on WHEN DO…`) or in a file, a line each.

use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use spop_core::{Kv, Scope, Status, Value};

use crate::message::{OwnedValue, variable};
use crate::show::type_name;

/// What the help says about rules.
pub(super) const GRAMMAR: &str = "\
A rule is --on WHEN DO [DO...]; each message of a NOTIFY is answered by the first rule that fits it, others by nothing.
WHEN is the name of a message, or * for any, and conditions on its arguments, all of which have to hold:
  check-client-ip                       the message is enough
  'check-client-ip ip=ipv4:192.0.2.17'  KEY=TYPE:VALUE as `spop notify` has it
  'check-client-ip ip=string'           KEY=TYPE, whatever the value is; KEY=any for any type
  'check-client-ip ip=net:10.0.0.0/8'   an address in a network
  'request path=prefix:/admin'          a text or bytes that begin so; contains: and suffix: are alike
DO is one of
  set-var SCOPE.NAME=TYPE:VALUE         SCOPE is proc, sess, txn, req or res; NAME without the engine's var-prefix
  set-var SCOPE.NAME=arg:KEY            the value of an argument of the message
  unset-var SCOPE.NAME
  delay TIME                            the ACK comes so much later, those of other NOTIFYs do not
  no-ack                                HAProxy waits in vain
  close                                 the connection ends without a word
  disconnect STATUS                     it ends by a DISCONNECT with this status: 0 normal, 1 I/O, 2 timeout, 3 too big, 4 invalid, ...
  garbage                               instead of an ACK, bytes that are no frame
  fragment BYTES                        the ACK comes in fragments of so many bytes of actions, which HAProxy does not take
A file (--rules FILE) has the same, a line each; rules of the command line come first:
  # comment
  on check-client-ip ip=net:10.0.0.0/8
      set-var sess.ip_score=int64:90
      delay 20ms";

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// As it was written.
    pub(super) text: String,
    /// Any if there is none.
    message: Option<Vec<u8>>,
    conditions: Vec<(Vec<u8>, Test)>,
    pub(super) deeds: Vec<Deed>,
    /// Messages that it answered.
    pub(super) answered: AtomicU64,
}

/// What an argument has to be.
#[derive(Debug)]
enum Test {
    Any,
    Type(String),
    Value(OwnedValue),
    Net(IpAddr, u8),
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Contains(Vec<u8>),
}

/// What is done.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    SetVar(Scope, Vec<u8>, Source),
    UnsetVar(Scope, Vec<u8>),
    Delay(Duration),
    NoAck,
    Close,
    Disconnect(Status),
    Garbage,
    Fragment(usize),
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Value(OwnedValue),
    Argument(Vec<u8>),
}

impl Rule {
    /// Reads `WHEN`; what is done comes later.
    pub(super) fn when(text: &str) -> Result<Self, String> {
        let words = shlex::split(text).ok_or_else(|| format!("{text}: a quote is not closed"))?;
        let (name, conditions) = words.split_first().ok_or("a rule needs the name of a message, or *")?;
        let conditions = conditions.iter().map(|word| {
            let (key, test) = word.split_once('=').ok_or_else(|| format!("{word}: write KEY=TYPE:VALUE"))?;
            Ok((key.as_bytes().to_vec(), Test::parse(test).map_err(|error| format!("{word}: {error}"))?))
        });
        Ok(Rule {
            text: text.trim().to_owned(),
            message: (name != "*").then(|| name.as_bytes().to_vec()),
            conditions: conditions.collect::<Result<_, String>>()?,
            deeds: Vec::new(),
            answered: AtomicU64::new(0),
        })
    }

    /// Does it answer this message?
    pub(super) fn fits<'a>(&self, name: &[u8], args: impl Iterator<Item = Kv<'a>> + Clone) -> bool {
        self.message.as_ref().is_none_or(|wanted| wanted == name)
            && self
                .conditions
                .iter()
                .all(|(key, test)| args.clone().any(|arg| arg.key == key && test.holds(&arg.value)))
    }
}

impl Test {
    fn parse(text: &str) -> Result<Self, String> {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Ok(match text.split_once(':') {
            None if text == "any" => Test::Any,
            None if TYPES.contains(&text) => Test::Type(text.to_owned()),
            Some(("net", net)) => {
                let (addr, bits) = net.split_once('/').unwrap_or((net, ""));
                let addr: IpAddr = addr.parse().map_err(|_| format!("{addr} is not an IP address"))?;
                let most = if addr.is_ipv4() { 32 } else { 128 };
                let bits = if bits.is_empty() { Ok(most) } else { bits.parse() };
                let bits = bits.ok().filter(|bits| *bits <= most);
                Test::Net(addr, bits.ok_or_else(|| format!("{net} is not a network: ADDRESS/BITS"))?)
            }
            Some(("prefix", text)) => Test::Prefix(bytes(text)),
            Some(("suffix", text)) => Test::Suffix(bytes(text)),
            Some(("contains", text)) => Test::Contains(bytes(text)),
            _ => Test::Value(OwnedValue::parse(text.as_bytes())?),
        })
    }

    fn holds(&self, value: &Value<'_>) -> bool {
        let bytes = match value {
            Value::String(bytes) | Value::Binary(bytes) => Some(*bytes),
            _ => None,
        };
        match self {
            Test::Any => true,
            Test::Type(kind) => type_name(value) == kind,
            Test::Value(wanted) => *value == wanted.as_value(),
            Test::Net(net, bits) => match (value, net) {
                (Value::Ipv4(ip), IpAddr::V4(net)) => shares(u32::from(*ip).into(), u32::from(*net).into(), 32 - bits),
                (Value::Ipv6(ip), IpAddr::V6(net)) => shares((*ip).into(), (*net).into(), 128 - bits),
                _ => false,
            },
            Test::Prefix(part) => bytes.is_some_and(|bytes| bytes.starts_with(part)),
            Test::Suffix(part) => bytes.is_some_and(|bytes| bytes.ends_with(part)),
            Test::Contains(part) => {
                part.is_empty() || bytes.is_some_and(|bytes| bytes.windows(part.len()).any(|window| window == part))
            }
        }
    }
}

/// The names of types that a condition may have alone.
const TYPES: [&str; 10] = ["null", "bool", "int32", "uint32", "int64", "uint64", "ipv4", "ipv6", "string", "binary"];

/// Are two numbers the same but for the last bits?
fn shares(a: u128, b: u128, bits: u8) -> bool {
    (a ^ b).checked_shr(bits.into()).unwrap_or(0) == 0
}

impl Deed {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (word, rest) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
        let rest = rest.trim_start();
        let alone = |deed| if rest.is_empty() { Ok(deed) } else { Err(format!("{word} stands alone, without {rest}")) };
        match word {
            "set-var" => {
                let (name, value) = rest.split_once('=').ok_or("write set-var SCOPE.NAME=TYPE:VALUE")?;
                let (scope, name) = variable(name)?;
                let source = match value.strip_prefix("arg:") {
                    Some(key) => Source::Argument(key.as_bytes().to_vec()),
                    None => Source::Value(OwnedValue::parse(value.as_bytes())?),
                };
                Ok(Deed::SetVar(scope, name, source))
            }
            "unset-var" => variable(rest).map(|(scope, name)| Deed::UnsetVar(scope, name)),
            "delay" => crate::net::time(rest).map(Deed::Delay),
            "disconnect" => rest
                .parse()
                .map(|status| Deed::Disconnect(Status(status)))
                .map_err(|_| format!("disconnect needs a status, a number such as 0 (normal), not {rest:?}")),
            "fragment" => match rest.parse() {
                Ok(size) if size > 0 => Ok(Deed::Fragment(size)),
                _ => Err(format!("fragment needs a number of bytes above 0, not {rest:?}")),
            },
            "no-ack" => alone(Deed::NoAck),
            "close" => alone(Deed::Close),
            "garbage" => alone(Deed::Garbage),
            _ => Err(format!(
                "there is no {word:?}: set-var, unset-var, delay, no-ack, close, disconnect, garbage or fragment"
            )),
        }
    }
}

/// The rules of a command line: `WHEN` and its `DO`s, again and again.
pub(super) fn of_words(words: &[String]) -> Result<Rule, String> {
    let (when, deeds) = words.split_first().ok_or("--on needs WHEN and DO")?;
    let mut rule = Rule::when(when)?;
    rule.deeds = deeds.iter().map(|deed| Deed::parse(deed)).collect::<Result<_, _>>()?;
    Ok(rule)
}

/// The rules of a file, or everything that is wrong with it.
pub(super) fn of_file(text: &str) -> Result<Vec<Rule>, Vec<(usize, String)>> {
    let (mut rules, mut wrong) = (Vec::<Rule>::new(), Vec::new());
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let read =
            match (line.strip_prefix("on").filter(|rest| rest.starts_with(char::is_whitespace)), rules.last_mut()) {
                (Some(when), _) => Rule::when(when).map(|rule| rules.push(rule)),
                (None, Some(rule)) => Deed::parse(line).map(|deed| rule.deeds.push(deed)),
                (None, None) => Err("a file begins with a rule: on MESSAGE".to_owned()),
            };
        wrong.extend(read.err().map(|error| (n + 1, error)));
    }
    if wrong.is_empty() { Ok(rules) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(when: &str, args: &[(&str, Value<'_>)]) -> bool {
        let args = args.iter().map(|(key, value)| Kv { key: key.as_bytes(), value: *value });
        Rule::when(when).unwrap().fits(b"m", args)
    }

    #[test]
    fn conditions() {
        let args = [
            ("ip", Value::Ipv4("10.1.2.3".parse().unwrap())),
            ("ip6", Value::Ipv6("2001:db8::1".parse().unwrap())),
            ("path", Value::String(b"/admin/a b")),
            ("n", Value::Int64(-5)),
            ("n", Value::Int64(7)),
        ];
        for (when, expected) in [
            ("m", true),
            ("*", true),
            ("other", false),
            ("m ip=ipv4:10.1.2.3", true),
            ("m ip=ipv4:10.1.2.4", false),
            ("m ip=ipv4", true),
            ("m ip=ipv6", false),
            ("m ip=any n=any", true),
            ("m gone=any", false),
            ("m ip=net:10.0.0.0/8", true),
            ("m ip=net:10.1.2.3", true),
            ("m ip=net:0.0.0.0/0", true),
            ("m ip=net:11.0.0.0/8", false),
            ("m ip6=net:2001:db8::/32 ip=net:10.1.2.0/24", true),
            ("m ip6=net:10.0.0.0/8", false),
            ("m ip6=net:::/0", true),
            ("m path=prefix:/admin", true),
            ("m path=prefix:/b", false),
            ("m 'path=suffix:a b'", true),
            ("m path=contains:min", true),
            ("m path=contains:nim", false),
            ("m n=int64:7", true),
            ("m n=int32:7", false),
            ("m n=prefix:7", false),
        ] {
            assert_eq!(fits(when, &args), expected, "{when}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let text = "set-var sess.a=int64:1\n\non m ip=net:10.0.0.0/33\non m\n  set-var x.a=int64:1\n# delay\n  delay\n  close it\n  jump\non 'm\n  disconnect normal\n  fragment 0\n";
        let wrong = of_file(text).unwrap_err();
        let expected = [
            (1, "begins with a rule"),
            (3, "not a network"),
            (5, "unknown scope"),
            (7, ""),
            (8, "stands alone"),
            (9, "there is no \"jump\""),
            (10, "quote"),
            (11, "needs a status"),
            (12, "above 0"),
        ];
        assert_eq!(wrong.len(), expected.len(), "{wrong:?}");
        for ((line, error), (n, says)) in wrong.iter().zip(expected) {
            assert!(*line == n && error.contains(says), "{line}: {error}");
        }
        let rules = of_file("on m ip=any\n  set-var txn.a=arg:ip\n\tdelay 20ms\non *\n  no-ack").unwrap();
        assert_eq!(rules.iter().map(|rule| rule.deeds.len()).collect::<Vec<_>>(), [2, 1]);
        assert!(of_words(&[]).is_err());
    }

    /// Texts that look like rules, mostly.
    fn text() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just("on".to_owned()),
            Just("set-var sess.a=".to_owned()),
            "(unset-var|delay|disconnect|fragment|garbage|close|no-ack|net:|arg:|int64:|string:)",
            "[a-z*=:./'\"0-9# \\\\-]{0,8}",
            Just("\n".to_owned()),
            any::<char>().prop_map(String::from),
        ];
        proptest::collection::vec(word, 0..30).prop_map(|words| words.join(" "))
    }

    proptest! {
        #[test]
        fn every_line_is_a_rule_or_something_to_do_or_wrong(text in text()) {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).count();
            match of_file(&text) {
                Ok(rules) => prop_assert_eq!(rules.iter().map(|rule| 1 + rule.deeds.len()).sum::<usize>(), lines),
                Err(wrong) => {
                    prop_assert!(wrong.len() <= lines);
                    prop_assert!(wrong.iter().all(|(n, error)| (1..=text.lines().count()).contains(n) && !error.is_empty()));
                }
            }
        }

        #[test]
        fn a_file_and_the_command_line_say_the_same(when in text(), deeds in proptest::collection::vec(text(), 0..4)) {
            let words: Vec<_> = [&when].into_iter().chain(&deeds).map(|word| word.replace('\n', " ").trim().to_owned()).collect();
            prop_assume!(words.iter().all(|word| !word.is_empty() && !word.starts_with(['#', '\r']) && !word.contains('\r')));
            prop_assume!(words[1..].iter().all(|word| !word.starts_with("on ")));
            let file = of_file(&format!("on {}", words.join("\n"))).ok().map(|rules| format!("{rules:?}"));
            let line = of_words(&words).ok().map(|rule| format!("{:?}", [rule]));
            prop_assert_eq!(file, line);
        }

        #[test]
        fn a_network_has_the_addresses_with_its_first_bits(net: u32, other: u32, bits in 0..=32_u8, flip in 0..32_u32) {
            let same_bits = |a: u32, b: u32| (0..u32::from(bits)).all(|bit| (a ^ b) >> (31 - bit) & 1 == 0);
            for addr in [other, net, net ^ (1 << flip)] {
                let when = format!("m ip=net:{}/{bits}", std::net::Ipv4Addr::from(net));
                prop_assert_eq!(fits(&when, &[("ip", Value::Ipv4(addr.into()))]), same_bits(net, addr));
            }
        }
    }
}
