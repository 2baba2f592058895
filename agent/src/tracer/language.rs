//! The message language: from the arguments of a message to items, one for each named argument.

use std::borrow::Cow;
use std::hash::BuildHasher;

use spop_core::valid::{Args, Message};
use spop_core::{Kv, Value};

use super::counters::Counters;
use super::value;

/// Bytes of an id, and of a service name.
pub(super) const MAX_KEY_LEN: usize = 256;

/// Which configuration a message was written for, by the prefix of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `opentracing:`; injects implicitly.
    OpenTracing,
    /// `otel:`.
    Otel,
}

impl Dialect {
    /// `None` for a message of somebody else.
    pub(super) fn of(message_name: &[u8]) -> Option<Self> {
        if message_name.starts_with(b"opentracing:") {
            Some(Dialect::OpenTracing)
        } else if message_name.starts_with(b"otel:") {
            Some(Dialect::Otel)
        } else {
            None
        }
    }
}

/// Why a message is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    Missing,
    Null,
    Empty,
    TooLong,
}

impl Rejection {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Rejection::Missing => "no id= argument",
            Rejection::Null => "the id is NULL; with id=unique-id, is there a unique-id-format?",
            Rejection::Empty => "the id is empty",
            Rejection::TooLong => "the id is longer than 256 bytes",
        }
    }
}

/// A message up to its id and service; the items that follow are not read yet.
#[derive(Clone, Debug)]
pub(super) struct Head<'a> {
    pub(super) dialect: Dialect,
    pub(super) id: Cow<'a, [u8]>,
    /// `None`: the default service.
    pub(super) service: Option<Cow<'a, str>>,
    /// Of id and service.
    pub(super) hash: u64,
    pub(super) items: Items<'a>,
}

impl<'a> Head<'a> {
    pub(super) fn parse(
        dialect: Dialect,
        message: &Message<'a>,
        default_service: &str,
        hasher: &impl BuildHasher,
        counters: &Counters,
    ) -> Result<Self, Rejection> {
        let mut items = Items::new(message.args());
        counters.args_misplaced.add(items.more().count());
        let id = loop {
            let Some(item) = items.next() else { return Err(Rejection::Missing) };
            match item.keyword() {
                Some(Keyword::Id) => {
                    counters.args_surplus.add(item.more.count());
                    break item.value;
                }
                Some(_) => counters.args_misplaced.one(),
                None => counters.args_unknown.one(),
            }
        };
        let id = match id {
            Value::Null => return Err(Rejection::Null),
            Value::String(bytes) => Cow::Borrowed(bytes),
            // Twice as long in hex.
            Value::Binary(bytes) if bytes.len() > MAX_KEY_LEN => return Err(Rejection::TooLong),
            ref other => Cow::Owned(value::text(other).unwrap_or_default().into_owned().into_bytes()),
        };
        if id.is_empty() {
            return Err(Rejection::Empty);
        }
        if id.len() > MAX_KEY_LEN {
            return Err(Rejection::TooLong);
        }
        let mut service = None;
        if items.is_next(Keyword::Service) {
            if let Some(item) = items.next() {
                service = value::text(&item.value).filter(|name| !name.is_empty() && name.len() <= MAX_KEY_LEN);
                counters.args_surplus.add(item.more.count());
            }
            if service.is_none() {
                counters.args_invalid.one();
            }
            service = service.filter(|name| name != default_service);
        }
        let hash = key_hash(hasher, service.as_deref(), &id);
        Ok(Head { dialect, id, service, hash, items })
    }

    /// Do both messages belong to the same table entry?
    pub(super) fn same_key(&self, other: &Head<'_>) -> bool {
        self.hash == other.hash && self.id == other.id && self.service == other.service
    }
}

/// The name of the message that wants ids for the spans of a request, which its log line makes: the message has no id.
const REQUEST: &[u8] = b"otel:request";

/// A message of lean mode: the agent keeps nothing of it.
#[derive(Clone, Debug)]
pub(super) struct Lean<'a>(pub(super) Items<'a>);

impl<'a> Lean<'a> {
    /// `None` if the message is another, or has an id.
    pub(super) fn parse(message: &Message<'a>) -> Option<Self> {
        let is_lean = message.name == REQUEST && message.args().all(|arg| arg.key != b"id");
        is_lean.then(|| Lean(Items::new(message.args())))
    }
}

/// Of an id and its service, `None` for the default one.
pub(super) fn key_hash(hasher: &impl BuildHasher, service: Option<&str>, id: &[u8]) -> u64 {
    hasher.hash_one((service, id))
}

/// What a named argument does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Id,
    Service,
    Span,
    ChildOf,
    FollowsFrom,
    Tag,
    Baggage,
    Log,
    Finish,
    Extract,
    ExtractB3,
    ExtractB3Multi,
    ExtractJaeger,
    ExtractTracestate,
    ExtractBaggage,
    Inject,
    Kind,
    Status,
    Event,
    Start,
    End,
    /// Only in lean mode.
    Method,
    Path,
}

impl Keyword {
    /// `None` if the name is unknown.
    fn of(key: &[u8]) -> Option<Self> {
        Some(match key {
            b"id" => Keyword::Id,
            b"service" => Keyword::Service,
            b"span" => Keyword::Span,
            b"child-of" => Keyword::ChildOf,
            b"follows-from" => Keyword::FollowsFrom,
            b"tag" => Keyword::Tag,
            b"baggage" => Keyword::Baggage,
            b"log" => Keyword::Log,
            b"finish" => Keyword::Finish,
            b"extract" => Keyword::Extract,
            b"extract-b3" => Keyword::ExtractB3,
            b"extract-b3multi" => Keyword::ExtractB3Multi,
            b"extract-jaeger" => Keyword::ExtractJaeger,
            b"extract-tracestate" => Keyword::ExtractTracestate,
            b"extract-baggage" => Keyword::ExtractBaggage,
            b"inject" => Keyword::Inject,
            b"kind" => Keyword::Kind,
            b"status" => Keyword::Status,
            b"event" => Keyword::Event,
            b"start" => Keyword::Start,
            b"end" => Keyword::End,
            b"method" => Keyword::Method,
            b"path" => Keyword::Path,
            _ => return None,
        })
    }
}

/// A named argument with the unnamed ones behind it, which are read when they are asked for.
pub(super) struct Item<'i, 'a> {
    key: &'a [u8],
    pub(super) value: Value<'a>,
    pub(super) more: More<'i, 'a>,
}

impl Item<'_, '_> {
    /// `None` if the name is unknown.
    pub(super) fn keyword(&self) -> Option<Keyword> {
        Keyword::of(self.key)
    }
}

/// Groups arguments into items. Each argument is decoded once.
#[derive(Clone, Debug)]
pub(super) struct Items<'a> {
    args: Args<'a>,
}

impl<'a> Items<'a> {
    fn new(args: Args<'a>) -> Self {
        Items { args }
    }

    /// The next item; what nobody asked for of the one before is passed over.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<Item<'_, 'a>> {
        while self.more().next().is_some() {}
        let Kv { key, value } = self.args.next()?;
        Some(Item { key, value, more: self.more() })
    }

    /// Unnamed arguments that come next.
    pub(super) fn more(&mut self) -> More<'_, 'a> {
        More(self)
    }

    fn is_next(&self, keyword: Keyword) -> bool {
        self.args.clone().next().is_some_and(|next| Keyword::of(next.key) == Some(keyword))
    }
}

/// The unnamed values behind a named argument.
pub(super) struct More<'i, 'a>(&'i mut Items<'a>);

impl<'a> Iterator for More<'_, 'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        self.0.args.next_unnamed()
    }
}
