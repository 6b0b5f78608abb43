//! The integration tests: one crate, one module a subject.
