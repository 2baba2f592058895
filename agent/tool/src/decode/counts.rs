//! What was seen.

use std::collections::BTreeMap;
use std::fmt;

/// Of all input.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) frames: u64,
    pub(super) fragments: u64,
    pub(super) reassembled: u64,
    pub(super) reencoded: u64,
    pub(super) errors: u64,
    pub(super) skipped: u64,
    pub(super) capture: Option<CaptureCounts>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} frames", self.frames)?;
        for (n, what) in [
            (self.fragments, "fragments among them"),
            (self.reassembled, "NOTIFYs put together"),
            (self.reencoded, "encoded again to the same bytes"),
            (self.skipped, "bytes passed over"),
        ] {
            if n > 0 {
                write!(f, ", {n} {what}")?;
            }
        }
        write!(f, ", {} errors", self.errors)?;
        self.capture.as_ref().map_or(Ok(()), |capture| capture.fmt(f))
    }
}

/// What was in a capture.
#[derive(Default)]
pub(super) struct CaptureCounts {
    pub(super) packets: u64,
    pub(super) no_tcp: u64,
    pub(super) malformed: u64,
    pub(super) unknown_links: u64,
    pub(super) link_types: BTreeMap<i32, ()>,
    pub(super) defragmented: u64,
    pub(super) fragments_lost: u64,
    pub(super) tcp_fragments_lost: u64,
    pub(super) streams: u64,
    pub(super) other_streams: u64,
    pub(super) other_bytes: u64,
    pub(super) repeated: u64,
    pub(super) missing: u64,
    pub(super) late: u64,
    pub(super) given_up: u64,
    pub(super) beyond_limit: u64,
}

impl CaptureCounts {
    /// Frames were left out, or may have been.
    pub(super) fn left_out(&self) -> bool {
        self.beyond_limit > 0 || self.given_up > 0 || self.tcp_fragments_lost > 0
    }

    /// Why no frame could come out of it.
    pub(super) fn unreadable(&self) -> Option<String> {
        let types: Vec<String> = self.link_types.keys().map(ToString::to_string).collect();
        let links = match types.as_slice() {
            [] => None,
            types => Some(format!("link type {} is not known to this tool", types.join(", "))),
        };
        let malformed = (self.malformed > 0).then(|| "packets are cut short or malformed".to_owned());
        let reasons: Vec<String> = links.into_iter().chain(malformed).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

impl fmt::Display for CaptureCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "; {} packets, {} streams with SPOP", self.packets, self.streams)?;
        for (n, what) in [
            (self.other_streams, "streams without SPOP passed over"),
            (self.other_bytes, "bytes in them"),
            (self.no_tcp, "packets without TCP"),
            (self.unknown_links + self.malformed, "packets of unknown link types or malformed"),
            (self.defragmented, "IP packets put together"),
            (self.fragments_lost, "IP fragments passed over"),
            (self.repeated, "bytes sent again"),
            (self.missing, "bytes missing"),
            (self.late, "bytes left out that came after their place was given up"),
            (self.given_up, "bytes given up to stay within --max-memory"),
            (self.beyond_limit, "packets of streams beyond --max-streams passed over"),
        ] {
            if n > 0 {
                write!(f, ", {n} {what}")?;
            }
        }
        Ok(())
    }
}
