//! The body of a request to the control interface.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| triskel_fuzz::rpc(data));
