//! The tests of spop-core by behaviour: what others recorded (`golden`), what holds for any input (`properties`), the
//! two sides against each other (`pair`), what people read (`texts`), and what imports what (`modules`).

#![allow(clippy::print_stdout)] // The golden tests tell how many vectors they ran.

mod common;
mod golden;
mod modules;
mod pair;
mod properties;
mod texts;
