//! `spop decode`: recorded bytes as text or JSON, one frame per line.

mod counts;
mod decoder;
mod flow;
mod fragments;
mod frame;
mod layers;
mod lost;
mod options;
mod packet;
mod pcap;
mod print;
mod read;
mod split;
mod streams;
mod unpack;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use crate::failure::Failure;
use crate::say::say;
use counts::{CaptureCounts, Counts};
use decoder::Decoder;
use options::Format;
use unpack::Input;

pub(crate) use frame::Decoded;
pub(crate) use options::Options;
pub(crate) use print::{Line, Place, Printer, Problem};

pub(crate) fn run(options: &Options, out: &mut impl Write) -> Result<(), Failure> {
    let name = if is_stdin(options) { "standard input".to_owned() } else { options.file.display().to_string() };
    let unreadable = |error| Failure::File { name: name.clone(), error };
    let mut input = open(options).and_then(|file| Input::new(file, options.max_unpacked)).map_err(unreadable)?;
    let (failed, waits) = (input.failed.clone(), input.take_waits());
    let printer = Printer { out, json: options.json };
    let (format, input) = read::sniff(Box::new(input), options.format).map_err(unreadable)?;
    let mut decoder = Decoder { options, printer, counts: Counts::default(), name, failed, waits };
    match format {
        Format::Pcap => pcap::run(&mut decoder, input)?,
        Format::Binary => read::binary(&mut decoder, input)?,
        Format::Hex | Format::Auto => read::hex_lines(&mut decoder, input)?,
    }
    decoder.printer.out.flush()?;
    let summary = decoder.counts.to_string();
    let capture = decoder.counts.capture.as_ref();
    if decoder.counts.errors > 0 || capture.is_some_and(CaptureCounts::left_out) {
        return Err(Failure::Unexpected(summary));
    }
    if let (0, Some(reason)) = (decoder.counts.frames, capture.and_then(CaptureCounts::unreadable)) {
        return Err(Failure::Unexpected(format!("{summary}: {reason}")));
    }
    say(summary);
    Ok(())
}

/// Standard input without the buffer of the standard library, which would hide what is there already.
fn open(options: &Options) -> io::Result<File> {
    match is_stdin(options) {
        true => Ok(io::stdin().as_fd().try_clone_to_owned()?.into()),
        false => File::open(&options.file),
    }
}

fn is_stdin(options: &Options) -> bool {
    options.file.as_os_str() == "-"
}
