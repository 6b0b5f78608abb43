//! The search for scenarios that fail, and for the smallest of them: the verbs `fuzz` and `shrink`.
//!
//! Scenarios are drawn from a seed ([`draw`]), run under virtual time without leaving evidence ([`attempt`]), and what fails is
//! made smaller for as long as it fails in the same way ([`shrink`]). What is left is a regression ([`regression`]): a file that
//! everybody can run, and that a test runs for ever after.

pub mod attempt;
pub mod draw;
pub mod fuzz;
pub mod reduce;
pub mod regression;
pub mod shrink;
