//! What the fuzz targets share.

#[path = "../../spop-core/tests/common/mod.rs"]
pub mod common;

mod owned;
mod stream;

pub use owned::{Bytes, Number, Pairs, capabilities};
pub use stream::Stream;
