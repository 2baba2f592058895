//! The extract arguments of a message together: what they say of its caller's trace.

use smallvec::SmallVec;

use super::env::Env;
use super::extract::{Extract, Lines};
use super::language::{Item, Keyword};
use super::propagation::{self, Baggage, Extracted, Format, Headers};

/// Extract arguments until they take effect.
#[derive(Default)]
pub(super) struct Extracts<'a> {
    headers: SmallVec<[Headers<'a>; 2]>,
    /// Lines of `tracestate`, which take effect with them.
    tracestate: SmallVec<[&'a [u8]; 4]>,
}

impl<'a> Extracts<'a> {
    /// Reads an argument, if it is one that is of use: what it extracts is on.
    pub(super) fn accept(keyword: Keyword, item: Item<'_, 'a>, env: &Env) -> Option<Extract<'a>> {
        let (propagators, counters) = (&env.config.propagators, &env.counters);
        let (extract, surplus) = Extract::parse(keyword, item)?;
        counters.args_surplus.add(surplus);
        let format = match &extract {
            Extract::Context { headers, .. } => Some(headers.format),
            Extract::Tracestate(_) => Some(Format::TraceContext),
            Extract::Baggage(_) => None,
        };
        let with_baggage = propagators.baggage() && matches!(keyword, Keyword::Extract | Keyword::ExtractBaggage);
        if !with_baggage && !format.is_some_and(|format| propagators.formats().contains(&format)) {
            counters.extracts_off.one();
            return None;
        }
        Some(extract)
    }

    /// Adds what an argument extracts; its baggage takes effect at once.
    pub(super) fn add(&mut self, extract: Extract<'a>, baggage: &mut Baggage, env: &Env) {
        let counters = &env.counters;
        match extract {
            Extract::Context { headers, baggage: header } => {
                if let Some(header) = header.filter(|_| env.config.propagators.baggage()) {
                    counters.baggage_dropped.add(baggage.extend(header));
                }
                self.headers.push(headers);
            }
            Extract::Tracestate(lines) => self.tracestate.extend(whole(lines, env)),
            Extract::Baggage(lines) => {
                for line in whole(lines, env) {
                    counters.baggage_dropped.add(baggage.extend(line));
                }
            }
        }
    }

    /// What they say, unless there are none.
    pub(super) fn take(&mut self, env: &Env) -> Option<Extracted> {
        if self.headers.is_empty() {
            return None;
        }
        let extracted = propagation::extract(env.config.propagators.formats(), &self.headers, &self.tracestate);
        self.headers.clear();
        env.counters.extracts_invalid.add(extracted.invalid);
        env.counters.tracestate_dropped.add(extracted.dropped);
        Some(extracted)
    }
}

/// Counts what is missing.
fn whole<'a>(lines: Lines<'a>, env: &Env) -> SmallVec<[&'a [u8]; 4]> {
    env.counters.lines_missed.add(lines.missed);
    env.counters.lines_cut.add(lines.cut);
    lines.lines
}
