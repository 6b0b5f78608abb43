//! A stream of frames that arrives in pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| triskel_fuzz::frame(data));
