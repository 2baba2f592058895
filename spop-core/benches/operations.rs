//! Does an operation so many times, for `devenv/bench --instructions` to count what it takes: `operations NAME TIMES`.

mod common;

use std::hint::black_box;
use std::process::ExitCode;

use common::{Reference, ours};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let times = arguments.get(1).and_then(|times| times.parse::<u64>().ok());
    let (Some(name), Some(times)) = (arguments.first(), times) else { return ExitCode::from(2) };
    let Reference { ip, trace, fragments, .. } = Reference::load();
    let mut connection = ours::Connection::open();
    let mut out = vec![0; 1024];
    let mut operation: Box<dyn FnMut() -> bool> = match name.as_str() {
        "walk-ip" => Box::new(|| ours::decode_and_walk(black_box(&ip)).is_ok()),
        "walk-trace" => Box::new(|| ours::decode_and_walk(black_box(&trace)).is_ok()),
        "encode-ack" => Box::new(|| ours::encode_ack(black_box(&mut out)).is_ok()),
        "notify-to-ack-ip" => Box::new(|| connection.notify_to_ack(black_box(&ip)).is_some()),
        "notify-to-ack-trace" => Box::new(|| connection.notify_to_ack(black_box(&trace)).is_some()),
        "fragments-to-ack-trace" => Box::new(|| connection.fragments_to_ack(black_box(&fragments)).is_some()),
        _ => return ExitCode::from(2),
    };
    match (0..times).all(|_| operation()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
