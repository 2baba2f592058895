//! Writes the first inputs of the fuzz targets, made of the vectors of spop-core:
//! `cargo run --example seed -- DIRECTORY` fills `DIRECTORY/<target>/`.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use serde_json::Value;
use spop_core::{Capabilities, Frame, FrameType, PREFIX_LEN};
use spop_fuzz::common::{hello, unhex};

/// All bytes in hex of the vectors.
#[derive(Default)]
struct Vectors {
    /// Whole frames, and what is to be refused as such.
    frames: Vec<Vec<u8>>,
    /// Frames that follow each other.
    sequences: Vec<Vec<u8>>,
    /// Varints and typed values.
    scalars: Vec<Vec<u8>>,
    /// Versions and capabilities.
    texts: Vec<String>,
}

fn main() -> io::Result<()> {
    let Some(directory) = env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("usage: seed DIRECTORY"));
    };
    let vectors = Vectors::read()?;
    let mut corpus = Corpus { directory, written: 0 };
    for frame in &vectors.frames {
        corpus.add("frame", frame)?;
        let Some(frame) = frame.get(PREFIX_LEN..).and_then(|body| Frame::decode(body).ok()) else { continue };
        let target = match frame.header.frame_type {
            FrameType::NOTIFY | FrameType::UNSET => "payload_notify",
            FrameType::ACK => "payload_ack",
            _ => "payload_kv",
        };
        corpus.add(target, frame.payload)?;
    }
    for text in &vectors.texts {
        corpus.add("payload_kv", text.as_bytes())?;
    }
    for scalar in &vectors.scalars {
        corpus.add("scalars", scalar)?;
    }
    streams(&vectors, &mut corpus)?;
    println!("{} inputs", corpus.written);
    Ok(())
}

/// What `spop_fuzz::Stream` reads: switches, cuts, and a stream that begins with a HELLO or does not.
fn streams(vectors: &Vectors, corpus: &mut Corpus) -> io::Result<()> {
    let all = Capabilities::PIPELINING | Capabilities::ASYNC | Capabilities::FRAGMENTATION;
    for (target, from_agent) in [("agent", false), ("client", true)] {
        let hello = hello(from_agent, 16380, all);
        for bytes in vectors.frames.iter().chain(&vectors.sequences) {
            for (switches, hello) in [(0, &[][..]), (0b1111, &[]), (0b0101, &hello)] {
                corpus.add(target, &[&[switches, 2, 6, 20], hello, bytes].concat())?;
            }
        }
    }
    Ok(())
}

struct Corpus {
    directory: PathBuf,
    written: usize,
}

impl Corpus {
    fn add(&mut self, target: &str, bytes: &[u8]) -> io::Result<()> {
        let directory = self.directory.join(target);
        fs::create_dir_all(&directory)?;
        self.written += 1;
        fs::write(directory.join(format!("vector-{:04}", self.written)), bytes)
    }
}

impl Vectors {
    fn read() -> io::Result<Self> {
        let mut vectors = Vectors::default();
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../spop-core/tests/vectors"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let scalars = ["varint.json", "typed.json"].iter().any(|name| path.ends_with(name));
                vectors.collect(&serde_json::from_slice(&fs::read(&path)?)?, scalars);
            }
        }
        Ok(vectors)
    }

    /// Takes what `hex`, `rx` and `text` say, wherever they stand.
    fn collect(&mut self, json: &Value, scalars: bool) {
        match json {
            Value::Array(list) => list.iter().for_each(|json| self.collect(json, scalars)),
            Value::Object(map) => {
                if let Some(Value::Array(steps)) = map.get("steps") {
                    let stream = steps.iter().filter_map(|step| step["rx"].as_str()).collect::<String>();
                    self.sequences.push(unhex(&stream));
                }
                for (key, json) in map {
                    match (key.as_str(), json) {
                        ("hex", Value::String(hex)) if scalars => self.scalars.push(unhex(hex)),
                        ("hex" | "rx", Value::String(hex)) => self.frames.push(unhex(hex)),
                        ("text", Value::String(text)) => self.texts.push(text.clone()),
                        _ => self.collect(json, scalars),
                    }
                }
            }
            _ => {}
        }
    }
}
