//! On a 32-bit target, where `usize` ends at 4 GiB: headers of larger files are read all the same.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use quantscope_format::{HeaderLayout, Limits, MemorySource, ShardHeader, TensorSpec, read_header};
use quantscope_numeric::Dtype;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const SIX_GB: u64 = 6_000_000_000;

#[wasm_bindgen_test]
fn a_tensor_past_four_gigabytes_is_listed() {
    assert_eq!(usize::BITS, 32, "the point of this test");
    let json = format!(
        r#"{{"big":{{"dtype":"BF16","shape":[3000000000],"data_offsets":[0,{SIX_GB}]}},"late":{{"dtype":"F32","shape":[2],"data_offsets":[{SIX_GB},{}]}}}}"#,
        SIX_GB + 8
    );
    let file_len = 8 + json.len() as u64 + SIX_GB + 8;
    let header = ShardHeader::parse(json.as_bytes(), file_len, &Limits::default());
    assert!(header.is_sound(), "{:?}", header.defects);
    assert_eq!(header.tensors.get(0).unwrap().byte_len(), SIX_GB);
    assert_eq!(header.tensors.get(0).unwrap().elements(), Some(3_000_000_000));
    assert_eq!(header.tensors.get(1).unwrap().begin, header.data_start() + SIX_GB);
    assert!(header.tensors.iter().all(|tensor| header.is_readable(tensor)));

    let short = ShardHeader::parse(json.as_bytes(), file_len - 1, &Limits::default());
    assert_eq!(short.defects.len(), 1);
    assert!(
        !short.is_readable(short.tensors.get(1).unwrap()) && short.is_readable(short.tensors.get(0).unwrap())
    );
}

#[wasm_bindgen_test]
fn a_file_past_four_gigabytes_is_laid_out() {
    let spec = |name: &str, dtype, n| TensorSpec { name: name.into(), dtype, shape: vec![n] };
    let layout = HeaderLayout::new(&[spec("b", Dtype::U8, 3), spec("a", Dtype::F32, SIX_GB)], &[]).unwrap();
    let data = layout.bytes.len() as u64;
    assert_eq!(layout.spans, [data + 4 * SIX_GB..data + 4 * SIX_GB + 3, data..data + 4 * SIX_GB]);
    assert_eq!(layout.file_len, data + 4 * SIX_GB + 3);
}

#[wasm_bindgen_test]
async fn a_length_that_no_memory_holds_is_refused_unread() {
    let source = MemorySource::new("x", [5_000_000_000_u64.to_le_bytes().as_slice(), b"{}"].concat());
    let header = read_header(&source, &Limits { header_bytes: u64::MAX, ..Limits::default() }).await.unwrap();
    assert!(!header.is_sound());
    assert_eq!(source.bytes_read(), 8);
}
