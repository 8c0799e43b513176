#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| quantscope_promises::hf_quant_config(data));
