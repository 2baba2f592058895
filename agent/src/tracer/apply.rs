//! Carries out the items of a message on the trace of its id.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;
use smallvec::SmallVec;
use spop_core::Value;

use super::env::Env;
use super::extract::Extract;
use super::extracts::Extracts;
use super::instance::Instance;
use super::language::{Dialect, Head, Item, Keyword, More};
use super::pool::Pool;
use super::propagation::{self, Headers};
use super::span::{EventAttributes, OpenSpan, Reference, StatusSpec};
use super::value;
use crate::lossy::is_ascii;
use spop_agent::time::Timestamp;

/// Explicit times may be so far from the receipt of their message, or as far as an id may live.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Carries out a message that was received at this instant. `spans_left`: so many more its NOTIFY may open and end.
pub(super) fn apply(
    instance: &mut Instance,
    head: &Head<'_>,
    received: Timestamp,
    env: &Env,
    pool: &mut Pool,
    spans_left: &mut usize,
) {
    let mut message = Run {
        instance,
        env,
        pool,
        id: &head.id,
        now: received.wall,
        received,
        spans_left,
        dialect: head.dialect,
        block: None,
        marks: SmallVec::new(),
        extracts: Extracts::default(),
        late: SmallVec::new(),
    };
    let mut items = head.items.clone();
    while let Some(item) = items.next() {
        message.item(item);
    }
    message.end();
}

/// What `finish=` marks.
enum Mark<'a> {
    All,
    Name(Cow<'a, str>),
}

/// A span and what follows it in the message.
struct Block {
    /// Index of the current span.
    span: usize,
    /// It was opened here, not taken up.
    opened: bool,
    /// It has a parent by reference: what follows becomes a link.
    referred: bool,
    /// It has a start by `start=`.
    starts: bool,
    log: Option<EventAttributes>,
}

struct Run<'t, 'a> {
    instance: &'t mut Instance,
    env: &'t Env,
    pool: &'t mut Pool,
    id: &'t [u8],
    now: SystemTime,
    received: Timestamp,
    spans_left: &'t mut usize,
    dialect: Dialect,
    block: Option<Block>,
    /// They take effect after the message's starts.
    marks: SmallVec<[Mark<'a>; 4]>,
    /// `extract=` and its kin; they take effect before `inject=`, or at the message's end.
    extracts: Extracts<'a>,
    /// Those that came when the trace id was bound.
    late: SmallVec<[Headers<'a>; 2]>,
}

impl<'a> Run<'_, 'a> {
    fn item(&mut self, item: Item<'_, 'a>) {
        let counters = &self.env.counters;
        let Some(keyword) = item.keyword() else {
            counters.args_unknown.one();
            return;
        };
        match keyword {
            Keyword::Id | Keyword::Service | Keyword::Method | Keyword::Path => counters.args_misplaced.one(),
            Keyword::Span => self.span(item),
            Keyword::Finish => self.finish(item),
            Keyword::Baggage => self.baggage(item),
            Keyword::Extract
            | Keyword::ExtractB3
            | Keyword::ExtractB3Multi
            | Keyword::ExtractJaeger
            | Keyword::ExtractTracestate
            | Keyword::ExtractBaggage => self.extract(keyword, item),
            Keyword::Inject => self.inject(item),
            _ if self.block.is_none() => counters.args_misplaced.one(),
            Keyword::ChildOf => self.reference(item, Reference::ChildOf),
            Keyword::FollowsFrom => self.reference(item, Reference::FollowsFrom),
            Keyword::Tag => self.tag(item),
            Keyword::Log => self.log(item),
            Keyword::Kind => self.kind(item),
            Keyword::Status => self.status(item),
            Keyword::Event => self.event(item),
            Keyword::Start => self.start(item),
            Keyword::End => self.end_time(item),
        }
    }

    fn end(mut self) {
        self.join();
        self.look_for_others();
        self.end_block();
        for mark in std::mem::take(&mut self.marks) {
            let at = match mark {
                Mark::All => {
                    self.worked(self.instance.spans.len());
                    self.instance.finish_all(self.now, self.env, self.pool);
                    continue;
                }
                Mark::Name(name) => self.instance.find(&name),
            };
            match at {
                Some(at) => {
                    self.worked(1);
                    self.instance.finish(at, self.now, self.env, self.pool);
                }
                None => self.env.counters.finishes_unknown.one(),
            }
        }
    }

    /// So many spans were opened or ended.
    fn worked(&mut self, spans: usize) {
        *self.spans_left = self.spans_left.saturating_sub(spans);
    }

    /// The name in an item's first value; NULL and the empty string name nothing.
    fn name(&self, value: &Value<'a>) -> Option<Cow<'a, str>> {
        let name = value::text(value).filter(|name| !name.is_empty());
        if name.is_none() {
            self.env.counters.args_invalid.one();
        }
        name
    }

    /// The same of an attribute, as it is written.
    #[inline(always)]
    fn attribute_name(&self, value: &Value<'a>) -> Option<Cow<'a, [u8]>> {
        match *value {
            // Nearly all.
            Value::String(name) if is_ascii(name) && !name.is_empty() => Some(Cow::Borrowed(name)),
            _ => self.unusual_name(value),
        }
    }

    #[cold]
    fn unusual_name(&self, value: &Value<'a>) -> Option<Cow<'a, [u8]>> {
        let name = value::text_bytes(value).filter(|name| !name.is_empty());
        if name.is_none() {
            self.env.counters.args_invalid.one();
        }
        name
    }

    fn surplus(&self, values: More<'_, '_>) {
        self.env.counters.args_surplus.add(values.count());
    }

    fn current(&mut self) -> Option<&mut OpenSpan> {
        let at = self.block.as_ref()?.span;
        self.instance.spans.get_mut(at).map(AsMut::as_mut)
    }

    /// The current span, if what is recorded will be of use.
    fn recording(&mut self) -> Option<&mut OpenSpan> {
        if self.instance.is_recording(self.env) { self.current() } else { None }
    }

    fn span(&mut self, item: Item<'_, 'a>) {
        self.end_block();
        self.surplus(item.more);
        let Some(name) = self.name(&item.value) else { return };
        let (span, opened) = match self.instance.find(&name) {
            Some(at) => (Some(at), false),
            None if *self.spans_left == 0 => {
                self.env.counters.spans_refused_notify.one();
                (None, true)
            }
            None => {
                let implicit = self.dialect == Dialect::OpenTracing;
                (self.instance.open(&name, self.now, implicit, self.env, self.pool), true)
            }
        };
        self.worked(usize::from(opened && span.is_some()));
        self.block = span.map(|span| Block { span, opened, referred: false, starts: false, log: None });
    }

    /// All logs of a block are one event; a span without an explicit start starts no earlier than its parent.
    fn end_block(&mut self) {
        let (now, env) = (self.now, self.env);
        let Some(block) = &mut self.block else { return };
        let (log, moves) = (block.log.take(), block.opened && !block.starts);
        if let Some(span) = self.current().filter(|_| moves)
            && let Some(not_before) = span.not_before.filter(|not_before| span.start < *not_before)
        {
            span.start = not_before;
            env.counters.times_adjusted.one();
        }
        if let (Some(log), Some(span)) = (log, self.recording()) {
            span.add_event("log", now, &log, &env.config.span_limits, &env.counters);
        }
        self.block = None;
    }

    fn reference(&mut self, item: Item<'_, 'a>, reference: Reference) {
        let Some(Block { span: at, opened, referred, .. }) = self.block else { return };
        self.surplus(item.more);
        let counters = &self.env.counters;
        if !opened {
            counters.args_misplaced.one();
            return;
        }
        let target = value::text(&item.value).and_then(|name| self.instance.find(&name)).filter(|target| *target != at);
        let target = target.and_then(|target| self.instance.spans.get(target));
        if target.is_none() {
            counters.references_unknown.one();
        }
        let link = target.map(|target| target.span_id).filter(|_| referred || reference == Reference::FollowsFrom);
        let parent = match target {
            Some(span) if reference == Reference::ChildOf => Some((span.span_id, Some(span.start))),
            Some(span) => span.parent.map(|parent| (parent, span.not_before)),
            None => self.instance.root(),
        };
        let Some(span) = self.instance.spans.get_mut(at) else { return };
        if !referred {
            // A first span that refers to nothing known is the root itself.
            if let Some((parent, not_before)) = parent.filter(|(parent, _)| *parent != span.span_id) {
                span.parent = Some(parent);
                span.not_before = not_before;
            }
        }
        if let Some(link) = link {
            span.add_link(link, reference, &self.env.config.span_limits, counters);
        }
        if let Some(block) = &mut self.block {
            block.referred = true;
        }
    }

    fn tag(&mut self, item: Item<'_, 'a>) {
        let Some(name) = self.attribute_name(&item.value) else { return };
        let Env { config, counters, .. } = self.env;
        let Some(span) = self.recording() else { return };
        let limits = &config.span_limits;
        span.attributes.set(&name, item.more, limits.max_attributes_per_span, limits, counters);
    }

    fn log(&mut self, item: Item<'_, 'a>) {
        let Some(name) = self.attribute_name(&item.value) else { return };
        let Some(block) = &mut self.block else { return };
        let log = block.log.get_or_insert_default();
        let limits = &self.env.config.span_limits;
        log.set(&name, item.more, limits.max_attributes_per_event, limits, &self.env.counters);
    }

    fn event(&mut self, item: Item<'_, 'a>) {
        let Some(name) = self.name(&item.value) else { return };
        let (now, env) = (self.now, self.env);
        let mut attributes = EventAttributes::default();
        let mut values = item.more;
        while let Some(key) = values.next() {
            let value = values.next();
            let Some(key) = self.attribute_name(&key) else { continue };
            let limits = &env.config.span_limits;
            attributes.set(&key, value.into_iter(), limits.max_attributes_per_event, limits, &env.counters);
        }
        if let Some(span) = self.recording() {
            span.add_event(&name, now, &attributes, &env.config.span_limits, &env.counters);
        }
    }

    fn baggage(&mut self, item: Item<'_, 'a>) {
        let Some(name) = self.name(&item.value) else { return };
        let Some(value) = value::concatenation(item.more) else { return };
        if !self.instance.baggage.set(&name, &value) {
            self.env.counters.baggage_dropped.one();
        }
    }

    fn finish(&mut self, item: Item<'_, 'a>) {
        for value in std::iter::once(item.value).chain(item.more) {
            if value == Value::String(b"*") {
                self.marks.push(Mark::All);
                continue;
            }
            let Some(name) = value::text(&value) else {
                self.env.counters.args_invalid.one();
                continue;
            };
            let name = match &*name {
                "" => match self.current() {
                    Some(span) => Cow::Owned(span.name.clone()),
                    None => {
                        self.env.counters.args_misplaced.one();
                        continue;
                    }
                },
                _ => name,
            };
            self.marks.push(Mark::Name(name));
        }
    }

    /// Takes an extract argument.
    fn extract(&mut self, keyword: Keyword, item: Item<'_, 'a>) {
        let Some(extract) = Extracts::accept(keyword, item, self.env) else { return };
        if self.instance.trace_id().is_some() {
            self.env.counters.extracts_late.one();
            if let Extract::Context { headers, .. } = extract {
                self.late.push(headers);
            }
            return;
        }
        self.extracts.add(extract, &mut self.instance.baggage, self.env);
    }

    /// Joins the caller's trace: that of the first format that has one, wherever in the message it stands.
    fn join(&mut self) {
        if let Some(extracted) = self.extracts.take(self.env) {
            self.instance.bind_extracted(extracted, self.env);
        }
    }

    /// Does a late extract argument show that another request has the same id?
    fn look_for_others(&self) {
        if self.late.is_empty() {
            return;
        }
        let extracted = propagation::extract(self.env.config.propagators.formats(), &self.late, &[]);
        if extracted.parent.is_some_and(|caller| self.instance.is_extracted_from_another(caller.trace_id)) {
            self.env.counters.ids_shared.one();
            self.env.logs.shared_id(self.id);
        }
    }

    fn inject(&mut self, item: Item<'_, 'a>) {
        self.surplus(item.more);
        let Some(name) = self.name(&item.value) else { return };
        self.join();
        self.instance.inject(&name, self.received.clock, self.env, self.pool);
    }

    fn kind(&mut self, item: Item<'_, 'a>) {
        self.surplus(item.more);
        let kind = match item.value {
            Value::String(b"server") => Kind::Server,
            Value::String(b"client") => Kind::Client,
            Value::String(b"internal") => Kind::Internal,
            Value::String(b"producer") => Kind::Producer,
            Value::String(b"consumer") => Kind::Consumer,
            _ => {
                self.env.counters.args_invalid.one();
                return;
            }
        };
        if let Some(span) = self.current() {
            span.kind = kind;
        }
    }

    fn status(&mut self, item: Item<'_, 'a>) {
        let mut values = item.more;
        let description = values.next().and_then(|value| value::text(&value)).unwrap_or_default();
        self.surplus(values);
        let code = match item.value {
            Value::String(digits) => std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()),
            ref other => other.as_integer().and_then(|code| u16::try_from(code).ok()),
        };
        let status = match (item.value, code) {
            (Value::String(b"ok"), _) => StatusSpec::Ok,
            (Value::String(b"error"), _) => StatusSpec::Error,
            (_, Some(code @ 100..=999)) => StatusSpec::Http(code),
            _ => {
                self.env.counters.args_invalid.one();
                return;
            }
        };
        if let Some(span) = self.recording() {
            span.set_status(status, &description);
        }
    }

    /// The time in an argument, in microseconds since the epoch, unless it is too far from now.
    fn time(&self, argument: &str, item: Item<'_, 'a>) -> Option<SystemTime> {
        let (counters, now) = (&self.env.counters, self.now);
        self.surplus(item.more);
        let micros = item.value.as_integer().and_then(|micros| u64::try_from(micros).ok()).filter(|micros| *micros > 0);
        let Some(micros) = micros else {
            counters.args_invalid.one();
            return None;
        };
        let farthest = self.env.config.max_lifetime.max(DAY);
        let is_near = |time: &SystemTime| {
            let ago = now.duration_since(*time).or_else(|_| time.duration_since(now));
            ago.is_ok_and(|ago| ago <= farthest)
        };
        let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros)).filter(is_near);
        if time.is_none() {
            counters.times_far.one();
            self.env.logs.far_time(argument, micros);
        }
        time
    }

    fn start(&mut self, item: Item<'_, 'a>) {
        let Some(time) = self.time("start", item) else { return };
        if let Some(block) = &mut self.block {
            block.starts = true;
        }
        if let Some(span) = self.current() {
            span.start = time;
        }
    }

    fn end_time(&mut self, item: Item<'_, 'a>) {
        let Some(time) = self.time("end", item) else { return };
        if let Some(span) = self.current() {
            span.end = Some(time);
        }
    }
}
