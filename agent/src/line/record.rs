//! What a line tells about a request: the parameters of our element, checked.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use memchr::memchr;

use super::syslog::{Params, is_name};
use super::word;
use crate::hex;
use crate::ipv4;
use crate::lossy::lossy;

/// What stands for an absent value, beside nothing.
const ABSENT: &[u8] = b"-";

/// How an element ends that was not cut.
const END: &[u8] = br#" z="1"]"#;

/// Why a line cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It was cut: there is no `z="1"`.
    Cut,
    /// A parameter is malformed, or stands there twice, or one that must be there is not.
    Malformed(&'static str),
}

/// The parameters by their names.
macro_rules! params {
    ($($param:ident = $name:literal)+) => {
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[allow(non_camel_case_types)] // They are HAProxy's names.
        enum Param {
            $($param,)+
        }

        impl Param {
            const ALL: &'static [Param] = &[$(Param::$param,)+];

            /// `None` if the name is unknown.
            fn named(name: &[u8]) -> Option<Self> {
                Some(match name {
                    $($name => Param::$param,)+
                    _ => return None,
                })
            }

            fn name(self) -> &'static str {
                match self {
                    $(Param::$param => stringify!($param),)+
                }
            }
        }
    };
}

params! {
    v = b"v" svc = b"svc" c = b"c" p = b"p" tst = b"tst" n = b"n" a = b"a" au = b"au" ss = b"ss" t0 = b"t0" e = b"e"
    Th = b"Th" Ti = b"Ti" TR = b"TR" Tw = b"Tw" Tc = b"Tc" Tr = b"Tr" Tt = b"Tt" st = b"st" ts = b"ts" rc = b"rc"
    f = b"f" b = b"b" s = b"s" m = b"m" u = b"u" hv = b"hv" h = b"h" ua = b"ua" route = b"route"
    tls = b"tls" stls = b"stls" ci = b"ci" cp = b"cp" fi = b"fi" fp = b"fp" si = b"si" sp = b"sp"
    U = b"U" B = b"B" id = b"id" z = b"z"
}

/// Their values as they stand in the line; those that are absent are empty.
struct Raw<'a>([&'a [u8]; Param::ALL.len()]);

/// A request at its end.
#[derive(Debug, PartialEq)]
pub(super) struct Record<'a> {
    /// `service.name`, if it is given.
    pub(super) service: Cow<'a, str>,
    /// `ctx`, as it stands there; empty if there is none.
    pub(super) context: &'a [u8],
    /// Id of the caller's span, if HAProxy made `ctx`.
    pub(super) parent: &'a [u8],
    pub(super) tracestate: Cow<'a, str>,
    /// Number of the line, of its frontend in its process.
    pub(super) number: Option<u64>,
    /// Microseconds since the epoch: accepted, seen by the first rule, over.
    pub(super) accepted: u64,
    pub(super) first_rule: Option<u64>,
    pub(super) end: u64,
    /// Milliseconds; `None` where the request did not get to.
    pub(super) handshake: Option<u64>,
    pub(super) idle: Option<u64>,
    pub(super) request: Option<u64>,
    pub(super) wait: Option<u64>,
    pub(super) connect: Option<u64>,
    pub(super) response: Option<u64>,
    /// The line is of TCP mode.
    pub(super) tcp: bool,
    /// What the client got; `None` if nothing.
    pub(super) status: Option<u16>,
    /// What the server said; `None` if nothing.
    pub(super) server_status: Option<u16>,
    /// HAProxy says what the server said: since 2.9.
    pub(super) knows_server_status: bool,
    /// Who ended it, and when: two letters, `--` if nobody did before its time.
    pub(super) termination: [u8; 2],
    pub(super) retries: u32,
    pub(super) frontend: &'a str,
    pub(super) backend: &'a str,
    pub(super) server: &'a str,
    pub(super) method: Cow<'a, str>,
    /// Path and query.
    pub(super) uri: Cow<'a, str>,
    pub(super) version: &'a str,
    pub(super) host: Cow<'a, str>,
    pub(super) user_agent: Cow<'a, str>,
    pub(super) route: Cow<'a, str>,
    /// The client's connection, and the server's.
    pub(super) tls: bool,
    pub(super) server_tls: bool,
    pub(super) client_address: Cow<'a, str>,
    pub(super) client_port: Option<u16>,
    /// Where the client connected to.
    pub(super) local_address: Cow<'a, str>,
    pub(super) local_port: Option<u16>,
    pub(super) server_address: Cow<'a, str>,
    pub(super) server_port: Option<u16>,
    /// Bytes of the request, and of the response.
    pub(super) uploaded: Option<u64>,
    pub(super) downloaded: Option<u64>,
    /// Bytes, as they came in a message.
    pub(super) id: Cow<'a, [u8]>,
}

impl<'a> Record<'a> {
    pub(super) fn read(mut params: Params<'a>) -> Result<Self, Unusable> {
        let mut raw = Raw([&[]; Param::ALL.len()]);
        for (name, value) in params.by_ref() {
            let Some(param) = Param::named(name) else {
                if is_name(name) {
                    continue;
                }
                return Err(Unusable::Malformed("an element's parameter"));
            };
            if !matches!(value, b"" | ABSENT)
                && let Some(slot) = raw.0.get_mut(param as usize)
                && !std::mem::replace(slot, value).is_empty()
            {
                return Err(Unusable::Malformed(param.name()));
            }
        }
        if params.has_more_than_it_can_read(END) {
            return Err(Unusable::Malformed("an element's parameter"));
        }
        if params.end().is_none() || raw.of(Param::z) != b"1" {
            return Err(Unusable::Cut);
        }
        raw.check()
    }

    /// A server was chosen and tried; names in angle brackets are HAProxy's own services.
    pub(super) fn has_server(&self) -> bool {
        !self.server.starts_with('<') && !self.server.is_empty() && self.wait.is_some()
    }
}

impl<'a> Raw<'a> {
    fn of(&self, param: Param) -> &'a [u8] {
        self.0.get(param as usize).copied().unwrap_or_default()
    }

    /// `None` if it is absent.
    fn parsed<T>(&self, param: Param, parse: impl FnOnce(&'a [u8]) -> Option<T>) -> Result<Option<T>, Unusable> {
        match self.of(param) {
            [] => Ok(None),
            value => parse(value).ok_or(Unusable::Malformed(param.name())).map(Some),
        }
    }

    fn number<N: TryFrom<u64>>(&self, param: Param) -> Result<Option<N>, Unusable> {
        self.parsed(param, digits)
    }

    /// Milliseconds; `-1` is none.
    fn timer(&self, param: Param) -> Result<Option<u64>, Unusable> {
        if self.of(param) == b"-1" { Ok(None) } else { self.number(param) }
    }

    /// An HTTP status; `-1` and 0 are none.
    fn status(&self, param: Param) -> Result<Option<u16>, Unusable> {
        match self.timer(param)? {
            None | Some(0) => Ok(None),
            Some(code @ 100..=999) => Ok(u16::try_from(code).ok()),
            Some(_) => Err(Unusable::Malformed(param.name())),
        }
    }

    /// A text of HAProxy's or of its configuration.
    fn name(&self, param: Param) -> Result<&'a str, Unusable> {
        Ok(self.parsed(param, |bytes| std::str::from_utf8(bytes).ok())?.unwrap_or_default())
    }

    /// An address, as a text or as its bytes in hexadecimal digits: for those HAProxy needs a fifth of the time.
    fn address(&self, param: Param) -> Result<Cow<'a, str>, Unusable> {
        let bytes = self.of(param);
        let text = match bytes.len() {
            8 => hex::decode_any_case::<4>(bytes).map(|ip| ipv4::text(ip.into(), &mut [0; 15]).to_owned()),
            32 => hex::decode_any_case::<16>(bytes).map(|ip| Ipv6Addr::from(ip).to_string()),
            _ => None,
        };
        text.map_or_else(|| self.name(param).map(Cow::Borrowed), |text| Ok(Cow::Owned(text)))
    }

    /// With a sign if another server was tried.
    fn retries(&self) -> Result<u32, Unusable> {
        let retries = self.parsed(Param::rc, |text| digits(text.strip_prefix(b"+").unwrap_or(text)))?;
        Ok(retries.unwrap_or(0))
    }

    fn check(&self) -> Result<Record<'a>, Unusable> {
        if self.of(Param::v) != b"1" {
            return Err(Unusable::Malformed(Param::v.name()));
        }
        let accepted = match self.number(Param::au)? {
            Some(micros) => micros,
            None => self.parsed(Param::a, accepted)?.ok_or(Unusable::Malformed(Param::a.name()))?,
        };
        let termination = match self.of(Param::ts) {
            [cause, state] => [*cause, *state],
            [] => *b"--",
            _ => return Err(Unusable::Malformed(Param::ts.name())),
        };
        Ok(Record {
            service: text(self.of(Param::svc)),
            context: self.of(Param::c),
            parent: self.of(Param::p),
            tracestate: decoded(self.of(Param::tst)),
            number: self.number(Param::n)?,
            accepted,
            first_rule: self.number(Param::t0)?,
            end: self.number(Param::e)?.ok_or(Unusable::Malformed(Param::e.name()))?,
            handshake: self.timer(Param::Th)?,
            idle: self.timer(Param::Ti)?,
            request: self.timer(Param::TR)?,
            wait: self.timer(Param::Tw)?,
            connect: self.timer(Param::Tc)?,
            response: self.timer(Param::Tr)?,
            tcp: !self.of(Param::Tt).is_empty(),
            status: self.status(Param::st)?,
            server_status: self.status(Param::ss)?,
            knows_server_status: !self.of(Param::ss).is_empty(),
            termination,
            retries: self.retries()?,
            frontend: self.name(Param::f)?,
            backend: self.name(Param::b)?,
            server: self.name(Param::s)?,
            method: decoded(self.of(Param::m)),
            uri: decoded(self.of(Param::u)),
            version: http_version(self.name(Param::hv)?),
            host: decoded(self.of(Param::h)),
            user_agent: decoded(self.of(Param::ua)),
            route: decoded(self.of(Param::route)),
            tls: self.of(Param::tls) == b"1",
            server_tls: self.of(Param::stls) == b"1",
            client_address: self.address(Param::ci)?,
            client_port: port(self.of(Param::cp)),
            local_address: self.address(Param::fi)?,
            local_port: port(self.of(Param::fp)),
            server_address: self.address(Param::si)?,
            server_port: port(self.of(Param::sp)),
            uploaded: self.number(Param::U)?,
            downloaded: self.number(Param::B)?,
            id: decoded_bytes(self.of(Param::id)),
        })
    }
}

/// As the conventions call what HAProxy's `req.ver` calls 2.0: no HTTP since has a minor version.
fn http_version(version: &str) -> &str {
    match version {
        "2.0" => "2",
        "3.0" => "3",
        other => other,
    }
}

/// Numbers of so many digits have no more than 64 bits.
const FEW_DIGITS: usize = 19;

/// Of digits alone. (`option logasap` gives some a `+`: such a line is not written at the end.)
fn digits<N: TryFrom<u64>>(digits: &[u8]) -> Option<N> {
    let digit = |byte: &u8| Some(u64::from(byte.wrapping_sub(b'0'))).filter(|digit| *digit < 10);
    let (few, more) = digits.split_at_checked(FEW_DIGITS).unwrap_or((digits, &[]));
    let mut number = 0;
    for byte in few {
        number = number * 10 + digit(byte)?;
    }
    for byte in more {
        number = number.checked_mul(10)?.checked_add(digit(byte)?)?;
    }
    N::try_from(number).ok()
}

/// A port; of a unix socket there is none.
fn port(text: &[u8]) -> Option<u16> {
    digits(text).filter(|port| *port != 0)
}

/// Seconds with three digits of milliseconds behind a dot, as microseconds.
fn accepted(text: &[u8]) -> Option<u64> {
    let (seconds, millis) = text.split_at_checked(text.len().checked_sub(4)?)?;
    let seconds: u64 = digits(seconds)?;
    let millis: u64 = digits(millis.strip_prefix(b".")?)?;
    seconds.checked_mul(1_000_000)?.checked_add(millis * 1000)
}

/// A text in which a backslash stands before what would end it, and before a backslash; before anything else it is one (RFC 5424,
/// section 6.3.3).
fn text(bytes: &[u8]) -> Cow<'_, str> {
    let text = lossy(bytes);
    if !bytes.contains(&b'\\') {
        return text;
    }
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = rest.next() {
        let escaped = rest.clone().next().filter(|next| c == '\\' && ['"', '\\', ']'].contains(next));
        if escaped.is_some() {
            rest.next();
        }
        plain.push(escaped.unwrap_or(c));
    }
    Cow::Owned(plain)
}

/// A text that went through `url_enc`.
fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    match decoded_bytes(bytes) {
        Cow::Borrowed(bytes) => lossy(bytes),
        Cow::Owned(bytes) => {
            String::from_utf8(bytes).unwrap_or_else(|error| lossy(error.as_bytes()).into_owned()).into()
        }
    }
}

/// The same of what need not be text.
fn decoded_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'%', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let (mut rest, mut decoded) = (bytes, Vec::with_capacity(bytes.len()));
    // Most escapes are near to each other: words are copied whole, and what was too much is taken back.
    while let Some((word, behind)) = rest.split_first_chunk() {
        let start = decoded.len();
        decoded.extend_from_slice(word);
        rest = match word::position(*word, *b"%") {
            None => behind,
            Some(at) => {
                decoded.truncate(start + at);
                unescape(rest.get(at..).unwrap_or_default(), &mut decoded)
            }
        };
    }
    while !rest.is_empty() {
        rest = unescape(rest, &mut decoded);
    }
    Cow::Owned(decoded)
}

/// Appends what begins with this byte, and gives what is behind that. Without two hexadecimal digits behind it a percent
/// sign stands for itself.
fn unescape<'a>(bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    if let [b'%', high, low, rest @ ..] = bytes
        && let Some(byte) = hex::byte([*high, *low])
    {
        out.push(byte);
        return rest;
    }
    let (first, rest) = bytes.split_at_checked(1).unwrap_or_default();
    out.extend_from_slice(first);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::percent_decode;

    #[test]
    fn texts_are_decoded_as_url_enc_writes_them() {
        // Every text of up to six of these: what is an escape, what is nearly one, and what is no UTF-8.
        const BYTES: &[u8; 7] = b"%%4fGc\xc3";
        for mut case in 0..BYTES.len().pow(6) {
            let mut text = Vec::new();
            while case > 0 {
                text.push(BYTES[case % BYTES.len()]);
                case /= BYTES.len();
            }
            let expected: Vec<u8> = percent_decode(&text).collect();
            assert_eq!(decoded(&text), String::from_utf8_lossy(&expected), "{text:x?}");
        }
        assert_eq!(decoded(b"%2Findex%20a%C3%a9%"), "/index a\u{e9}%");
    }

    #[test]
    fn a_backslash_escapes_three_characters() {
        let cases =
            [(r"a", "a"), (r#"a\"b\\c\]"#, r#"a"b\c]"#), (r"C:\b\", r"C:\b\"), (r"\\\]", r"\]"), (r"\é", r"\é")];
        for (given, plain) in cases {
            assert_eq!(text(given.as_bytes()), plain, "{given}");
        }
    }

    #[test]
    fn only_versions_without_a_minor_one_are_renamed() {
        for (given, name) in [("2.0", "2"), ("3.0", "3"), ("1.0", "1.0"), ("1.1", "1.1"), ("2.00", "2.00"), ("", "")] {
            assert_eq!(http_version(given), name);
        }
    }

    #[test]
    fn every_parameter_is_found_by_its_name() {
        for param in Param::ALL {
            assert_eq!(Param::named(param.name().as_bytes()), Some(*param));
        }
        for unknown in ["", "Td", "Ta", "V", "vv", "rout", "routes"] {
            assert_eq!(Param::named(unknown.as_bytes()), None, "{unknown}");
        }
    }
}
