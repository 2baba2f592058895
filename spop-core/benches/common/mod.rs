//! What is measured, for this crate ([`ours`]) and for the published crate `spop` ([`theirs`]), and on which bytes.

#![allow(dead_code, reason = "each bench uses its part")]

pub(crate) mod ours;
pub(crate) mod theirs;

/// The reference NOTIFYs, prefix included.
#[derive(Clone)]
pub(crate) struct Reference {
    /// 36 bytes: one message with one argument.
    pub(crate) ip: Vec<u8>,
    /// 663 bytes: the messages of a traced request, 17 arguments.
    pub(crate) trace: Vec<u8>,
    /// The ACK that answers either of them, with one set-var.
    pub(crate) ack: Vec<u8>,
    /// `trace` as three frames: NOTIFY and two continuations.
    pub(crate) fragments: [Vec<u8>; 3],
}

impl Reference {
    pub(crate) fn load() -> Self {
        let json = include_str!("../../tests/vectors/reference.json");
        let mut hex = json.split("\"hex\": \"").skip(1).map(|rest| unhex(rest.split('"').next().unwrap_or_default()));
        let mut next = || hex.next().expect("reference.json has four hex strings");
        let (ip, ack, trace) = (next(), next(), next());
        assert_eq!((ip.len(), trace.len(), &ack), (36, 663, &next()), "ip, its ACK, trace, the same ACK");
        let fragments = ours::fragments(&trace);
        Reference { ip, trace, ack, fragments }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).expect("hex") as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// What both crates are told to answer.
pub(crate) const SCORE_NAME: &str = "ip_score";
pub(crate) const SCORE: i64 = 42;
