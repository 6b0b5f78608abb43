//! The state machine: one input, at one moment, to effects in the order in which they must be performed.

pub mod io;
