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
    headers(&mut corpus)?;
    #[cfg(feature = "agent")]
    corpus.add("receiver", &request())?;
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

/// What `propagation`, `line` and `pages` read: examples of the specifications, lines, and what the pages link to.
fn headers(corpus: &mut Corpus) -> io::Result<()> {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";
    for (format, lines) in [
        ("\u{0}", format!("00-{TRACE}-{SPAN}-01\ncongo=t61rcWkgMzE,rojo={SPAN}\nkey1=value1,key2=a%20b;property=1")),
        ("\u{0}", format!("cc-{TRACE}-{SPAN}-00-what-the-future-brings")),
        ("\u{1}", format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90")),
        ("\u{1}", "d".to_owned()),
        ("\u{2}", format!("{TRACE}\n{SPAN}\n1")),
        ("\u{2}", format!("{}\n{SPAN}\n\n1", &TRACE[16..])),
        ("\u{3}", format!("{TRACE}:{SPAN}:0:1")),
        ("\u{3}", format!("{}%3A{SPAN}%3A0%3A3", &TRACE[16..])),
    ] {
        corpus.add("propagation", [format, &lines].concat().as_bytes())?;
    }
    const LINE: &str = "<134>1 2026-11-28T19:00:00Z - haproxy 1 - [otel@32473 v=\"1\" z=\"1\"]";
    for (kind, rest) in [
        ("\u{0}", LINE.to_owned()),
        ("\u{0}", "<134>1 2026-11-28T19:00:00Z - haproxy 1 - ".to_owned()),
        ("\u{1}", format!("{TRACE}-{SPAN}-b7ad6b7169203331-53995c3f42cd8ad8-03")),
        ("\u{5}", format!("{TRACE}-{SPAN}-b7ad6b7169203331--00-more")),
        ("\u{2}", "GET\n/a?sig=1\nexample.com:80\ncurl/8\nid".to_owned()),
        ("\u{6}", "BREW\n*\n[::1]\n\" z=\"1\"] [otel@32473 c=\"\n".to_owned()),
        ("\u{3}", "GET\n/%2F\n-\n\\\"".to_owned()),
    ] {
        corpus.add("line", [kind, &rest].concat().as_bytes())?;
    }
    for rest in [
        "",
        ".json?id=0a&page=1",
        "?service=haproxy&q=%3Cscript%3E&min=1ms&error=1&page=2",
        "/0af7651916cd43dd8448eb211c80319c",
        "/1af7651916cd43dd8448eb211c80319c.json",
        "/style.css",
    ] {
        corpus.add("pages", rest.as_bytes())?;
    }
    Ok(())
}

/// The traces of the target `pages`, as another program sends them.
#[cfg(feature = "agent")]
fn request() -> Vec<u8> {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    let json = include_str!("../fuzz_targets/support/traces.json");
    prost::Message::encode_to_vec(&serde_json::from_str::<ExportTraceServiceRequest>(json).expect("OTLP JSON"))
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
