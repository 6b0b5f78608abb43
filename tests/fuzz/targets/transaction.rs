//! A transaction's canonical bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| triskel_fuzz::transaction(data));
