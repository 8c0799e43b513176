#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| quantscope_promises::index(data));
