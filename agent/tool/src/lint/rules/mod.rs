//! The rules, and what they look at.

mod agent;
mod frontend;
mod language;
mod line;
mod spans;
mod text;

pub(super) use frontend::UNREAD_FILE;

use super::context::Context;
use super::finding::{Findings, Rule};

/// All of them, by family.
pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    [agent::RULES, language::RULES, spans::RULES, frontend::RULES, line::RULES, text::RULES]
        .into_iter()
        .flatten()
        .copied()
}

/// What is found by all rules.
pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    agent::check(context, findings);
    language::check(context, findings);
    spans::check(context, findings);
    frontend::check(context, findings);
    line::check(context, findings);
    text::check(context, findings);
}
