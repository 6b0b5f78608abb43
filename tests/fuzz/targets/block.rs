//! A block's canonical bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| triskel_fuzz::block(data));
