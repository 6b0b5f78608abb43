//! The body of one frame.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| triskel_fuzz::message(data));
