//! What holds for any input: round trips, full buffers, any cut of the stream, any bytes.

mod bytes;
mod no_space;
mod round_trip;
mod splits;
mod strategies;
