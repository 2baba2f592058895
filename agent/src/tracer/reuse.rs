//! Ids that come again, as they do if clients choose them: does a NOTIFY begin another request?

use std::collections::HashSet;

use smallvec::SmallVec;

use super::env::Env;
use super::extract::Extract;
use super::instance::Instance;
use super::language::{Head, Keyword};
use super::propagation;
use super::value;

/// Is this NOTIFY about another request than the one whose spans have all ended? It is if it opens a root, or extracts
/// another trace. After a limit ended the spans HAProxy may still be at the request, and takes up spans of which it does
/// not know that they ended: then a root counts only beside an extract argument.
pub(super) fn begins_anew(instance: &Instance, heads: &[Head<'_>], env: &Env) -> bool {
    if !instance.has_ended() {
        return false;
    }
    let (mut named, mut contexts) = (HashSet::new(), SmallVec::<[_; 2]>::new());
    let mut opens_root = false;
    for head in heads {
        // No reference has followed yet.
        let mut is_root = false;
        let mut items = head.items.clone();
        while let Some(item) = items.next() {
            let Some(keyword) = item.keyword() else { continue };
            match keyword {
                Keyword::Span => {
                    opens_root |= is_root;
                    let name = value::text(&item.value).filter(|name| !name.is_empty());
                    // What the agent has promised is no root.
                    is_root = name.is_some_and(|name| !instance.is_reserved(&name) && named.insert(name));
                }
                Keyword::ChildOf | Keyword::FollowsFrom => is_root = false,
                _ => {
                    if let Some((Extract::Context { headers, .. }, _)) = Extract::parse(keyword, item) {
                        contexts.push(headers);
                    }
                }
            }
        }
        opens_root |= is_root;
    }
    if opens_root && (!instance.was_cut() || !contexts.is_empty()) {
        return true;
    }
    let caller = propagation::extract(env.config.propagators.formats(), &contexts, &[]).parent;
    caller.is_some_and(|caller| Some(caller.trace_id) != instance.trace_id())
}
