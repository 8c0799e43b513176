//! Opening reads headers and JSON only, whatever the size of the tensors.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, Uncontrolled};
use quantscope_session::Session;
use quantscope_tests::{data, open_folder};
use std::path::Path;

/// Bytes of a folder that are not tensor data: of a weight file the 8 bytes and its header, of a JSON file all.
fn bytes_of_facts(folder: &Path) -> u64 {
    std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| {
            let bytes = std::fs::read(entry.path()).unwrap();
            match entry.path().extension().and_then(|extension| extension.to_str()) {
                Some("safetensors") => 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()),
                Some("json") => bytes.len() as u64,
                _ => 0,
            }
        })
        .sum()
}

#[test]
fn opening_reads_no_tensor_bytes() {
    for path in [
        "golden/_src/wan_vae",
        "golden/e2e_wan_vae_nvfp4_conv3d/expected",
        "golden/e2e_llama_nvfp4_sharded/expected",
        "golden/e2e_mixtral_nvfp4/expected",
    ] {
        let (files, asked) = open_folder(&data(path));
        let session =
            futures_executor::block_on(Session::open(path, files, Limits::default(), &Uncontrolled)).unwrap();
        let most = bytes_of_facts(&data(path));
        assert!(
            asked.get() <= most,
            "{path}: {} bytes were asked for, headers and JSON have {most}",
            asked.get()
        );
        assert!(asked.get() > 0, "{path}: nothing was asked for, so nothing was counted");
        assert_eq!(session.overview().bytes_read, asked.get(), "{path}: the overview tells another count");
        let tensors = session.overview().tensor_count;
        assert!(tensors > 0, "{path} has no tensors");
    }
}

/// The negative control: reading one tensor's values is noticed by the same counter.
#[test]
fn reading_values_is_counted() {
    let path = "golden/e2e_wan_vae_nvfp4_conv3d/expected";
    let (files, asked) = open_folder(&data(path));
    futures_executor::block_on(async {
        let session = Session::open(path, files, Limits::default(), &Uncontrolled).await.unwrap();
        session.layer_values("decoder.conv_out", &Uncontrolled).await.unwrap();
    });
    assert!(asked.get() > bytes_of_facts(&data(path)));
}
