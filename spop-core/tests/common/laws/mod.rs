//! What holds for any input. The property tests try it with random input, the fuzz targets (`fuzz/`) with input that
//! the coverage leads to.

pub mod bytes;
pub mod no_space;
pub mod round_trip;
pub mod splits;
