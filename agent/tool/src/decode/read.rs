//! Hex lines and byte streams.

use std::io::{self, BufRead, BufReader, Cursor, Read, Write};

use super::decoder::{Decoder, Source};
use super::options::Format;
use super::print::{Place, Problem};
use super::split::Splitter;
use crate::failure::Failure;

/// What of the input was looked at already, then the rest.
pub(super) type Sniffed = io::Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>>;

/// Tells the format by the first four bytes. A frame of SPOP cannot begin with hex digits or with the mark of a capture: it
/// would have hundreds of megabytes.
pub(super) fn sniff(mut input: Box<dyn Read + Send>, format: Format) -> io::Result<(Format, Sniffed)> {
    let mut first = Vec::new();
    if format == Format::Auto {
        input.by_ref().take(4).read_to_end(&mut first)?;
    }
    let found = match (format, first.as_slice()) {
        (Format::Auto, [0x0a, 0x0d, 0x0d, 0x0a]) => Format::Pcap,
        (Format::Auto, [0xa1, 0xb2, 0xc3 | 0x3c, 0xd4 | 0x4d] | [0xd4 | 0x4d, 0xc3 | 0x3c, 0xb2, 0xa1]) => Format::Pcap,
        (Format::Auto, bytes) if bytes.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) => Format::Hex,
        (Format::Auto, _) => Format::Binary,
        (told, _) => told,
    };
    Ok((found, Cursor::new(first).chain(input)))
}

/// A stream of frames.
pub(super) fn binary<W: Write>(decoder: &mut Decoder<'_, W>, mut input: impl Read) -> Result<(), Failure> {
    let mut source = Source::new(decoder.options);
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let n = match input.read(&mut chunk) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(decoder.unreadable(error)),
        };
        source.splitter.push(chunk.get(..n).unwrap_or_default());
        decoder.drain(&mut source, Place::default(), n == 0)?;
        decoder.printer.out.flush()?;
        if n == 0 {
            return Ok(());
        }
    }
}

/// Lines of hex digits. Each line begins with a frame; fragments go on from line to line.
pub(super) fn hex_lines<W: Write>(decoder: &mut Decoder<'_, W>, input: impl Read) -> Result<(), Failure> {
    let mut input = BufReader::new(input);
    let mut source = Source::new(decoder.options);
    // Blanks and comments may take as much room as the digits.
    let limit = (decoder.options.max_frame_size as usize).saturating_mul(8);
    let mut number = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = input.by_ref().take(limit as u64).read_until(b'\n', &mut line).map_err(|e| decoder.unreadable(e))?;
        if n == 0 {
            let place = Place { line: Some(number), ..Place::default() };
            return Ok(decoder.abandon(&mut source, place)?);
        }
        number += 1;
        let place = Place { line: Some(number), ..Place::default() };
        if n == limit && line.last() != Some(&b'\n') {
            skip_line(&mut input).map_err(|e| decoder.unreadable(e))?;
            let reason = format!("a line longer than {limit} bytes (8 times --max-frame-size) passed over");
            decoder.problem(place, Problem { reason, offset: 0, status: None })?;
            continue;
        }
        match unhex(&line) {
            Ok(bytes) => {
                source.splitter = Splitter::new(decoder.options.max_frame_size);
                source.splitter.push(&bytes);
                while let Some(piece) = source.splitter.next(true) {
                    decoder.piece(&mut source.fragments, place, &piece)?;
                }
            }
            Err((column, reason)) => {
                let reason = format!("{reason} at column {column}");
                decoder.problem(place, Problem { reason, offset: 0, status: None })?;
            }
        }
        if input.buffer().is_empty() {
            decoder.printer.out.flush()?;
        }
    }
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let end = buffer.iter().position(|&b| b == b'\n');
        let (n, done) = end.map_or((buffer.len(), buffer.is_empty()), |at| (at + 1, true));
        input.consume(n);
        if done {
            return Ok(());
        }
    }
}

/// The bytes of a line, or the column (from 1) and what is wrong there.
fn unhex(line: &[u8]) -> Result<Vec<u8>, (usize, &'static str)> {
    let comment = line.iter().position(|&b| b == b'#').unwrap_or(line.len());
    let text = line.get(..comment).unwrap_or_default();
    let indent = text.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let prefix = text.get(indent..).is_some_and(|rest| rest.starts_with(b"0x"));
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for (at, &byte) in text.iter().enumerate().skip(if prefix { indent + 2 } else { indent }) {
        if byte.is_ascii_whitespace() || byte == b':' {
            continue;
        }
        let digit = char::from(byte).to_digit(16).ok_or((at + 1, "not a hex digit"))? as u8;
        match high.take() {
            None => high = Some(digit),
            Some(high) => bytes.push(high << 4 | digit),
        }
    }
    match high {
        None => Ok(bytes),
        Some(_) => Err((text.trim_ascii_end().len(), "an odd number of hex digits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_hex() {
        for line in ["0a0B", " 0a:0b # c", "0x0a0b\r\n", "0 a\t0b"] {
            assert_eq!(unhex(line.as_bytes()), Ok(vec![10, 11]), "{line}");
        }
        assert_eq!(unhex(b"# only a comment"), Ok(vec![]));
        assert_eq!(unhex(b"0a0g"), Err((4, "not a hex digit")));
        assert_eq!(unhex(b"0a0"), Err((3, "an odd number of hex digits")));
    }

    #[test]
    fn formats_by_their_first_bytes() {
        let format = |bytes: &'static [u8]| sniff(Box::new(bytes), Format::Auto).map(|(format, _)| format as u8).ok();
        assert_eq!(format(b"0000"), Some(Format::Hex as u8));
        assert_eq!(format(b"# a comment"), Some(Format::Hex as u8));
        assert_eq!(format(b""), Some(Format::Hex as u8));
        assert_eq!(format(b"\0\0\0\x07"), Some(Format::Binary as u8));
        for magic in
            [b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1", b"\x0a\x0d\x0d\x0a"]
        {
            assert_eq!(format(magic), Some(Format::Pcap as u8));
        }
    }
}
