//! A conversion gives the same bytes on the GPU engine as on the CPU engine, for every type of source.

#![allow(clippy::panic, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, Uncontrolled};
use quantscope_kernels::{CpuEngine, Engine};
use quantscope_session::api::ConvertRequest;
use quantscope_session::{Engines, Session};
use quantscope_tests::sink::MemorySink;
use quantscope_tests::{data, gpu, open_folder};
use std::collections::BTreeMap;

const SOURCES: &[&str] = &[
    "golden/_src/wan_vae",
    "golden/_src/llama",
    "golden-pr/vae/wan22_residual/source",
    "golden-pr/conv3d/conv3d_bf16/source",
    "golden-pr/conv3d/conv3d_f16/source",
    "golden-pr/conv3d/conv3d_f32/source",
];

/// Converts to NVFP4; answers the files, and the engine that the summary names.
fn converted(source: &str, gpu: Option<&dyn Engine>, tile_bytes: u64) -> (BTreeMap<String, Vec<u8>>, String) {
    let (files, _) = open_folder(&data(source));
    let cpu = CpuEngine::new();
    let mut sink = MemorySink::default();
    let request = ConvertRequest { to: "nvfp4".into(), ..ConvertRequest::default() };
    let limits = Limits { tile_bytes, ..Limits::default() };
    let summary = futures_executor::block_on(async {
        let session = Session::open(source, files, limits, &Uncontrolled).await?;
        session.convert(&request, Engines { gpu, cpu: &cpu }, &mut sink, &Uncontrolled).await
    });
    (sink.finished, summary.unwrap_or_else(|error| panic!("{source}: {error:?}")).engine)
}

#[test]
fn the_engine_changes_no_byte() {
    let Some(engine) = gpu() else { return };
    for source in SOURCES {
        for tile_bytes in [Limits::default().tile_bytes, 1000] {
            let (by_gpu, used) = converted(source, Some(&engine), tile_bytes);
            assert_eq!(used, engine.description(), "{source}: another engine did the work");
            let (by_cpu, used) = converted(source, None, tile_bytes);
            assert_ne!(used, engine.description(), "{source}: both are the same engine");
            assert!(by_gpu.values().any(|bytes| !bytes.is_empty()), "{source}: nothing was written");
            for (name, bytes) in &by_cpu {
                if name.ends_with(".safetensors") {
                    assert!(by_gpu[name] == *bytes, "{source}: {name} differs, tiles of {tile_bytes} bytes");
                }
            }
        }
    }
}
