//! A machine and what it is told, in any order.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| triskel_fuzz::machine(data));
