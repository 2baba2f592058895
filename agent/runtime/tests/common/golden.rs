//! The golden vectors of SPOP.

use std::path::Path;

use serde_json::Value;

/// The golden vectors.
pub fn vectors(name: &str) -> Vec<Value> {
    let folders =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("spop-core/tests/vectors"));
    let path = folders.into_iter().find(|folder| folder.is_dir()).unwrap().join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Bytes from the hex of a vector.
pub fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
