//! The tests of spop-core by behaviour: what others recorded (`golden`), what holds for any input (`properties`), the
//! two sides against each other (`pair`), and what people read (`texts`).

#![allow(clippy::print_stdout)] // The golden tests tell how many vectors they ran.

mod common;
mod golden;
mod pair;
mod properties;
mod texts;
