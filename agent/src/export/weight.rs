//! What is waited for in a queue, as its bounds count it.

/// What an item counts against the bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) spans: usize,
    pub(crate) bytes: usize,
}

impl Weight {
    pub(super) fn plus(self, other: Self) -> Self {
        Self { spans: self.spans.saturating_add(other.spans), bytes: self.bytes.saturating_add(other.bytes) }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self { spans: self.spans.saturating_sub(other.spans), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}
