//! A stream and how the transport cuts it, in bytes that the corpus can be made of.

use spop_core::Capabilities;

use crate::capabilities;

/// What the bytes of an input say: a byte of switches, a byte with the number of cuts, the cuts, the stream.
pub struct Stream<'a> {
    /// Bits 0 to 2.
    pub capabilities: Capabilities,
    /// Bit 3.
    pub switch: bool,
    /// Lengths of the pieces, to be taken in turn; 1 or more each.
    pub cuts: Vec<usize>,
    /// What the peer sends.
    pub bytes: &'a [u8],
}

impl<'a> Stream<'a> {
    /// `None` if the bytes end before the stream.
    pub fn new(input: &'a [u8]) -> Option<Self> {
        let (&[switches, cuts], rest) = input.split_first_chunk()?;
        let (cuts, bytes) = rest.split_at_checked(usize::from(cuts % 16))?;
        let mut cuts: Vec<usize> = cuts.iter().map(|len| 1 + usize::from(*len)).collect();
        if cuts.is_empty() {
            cuts.push(1);
        }
        Some(Stream { capabilities: capabilities(switches), switch: switches & 8 != 0, cuts, bytes })
    }
}
