//! Files of the golden data, audited whole.

use quantscope_audit::bytes::audit_bytes;
use quantscope_audit::report::Finding;
use quantscope_audit::{Checkpoint, Engines, HeaderContext, InputFile, Model, header_findings};
use quantscope_format::{Limits, MemorySource, Uncontrolled};
use quantscope_kernels::CpuEngine;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub(crate) fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data")
}

/// Audits files as one checkpoint.
pub(crate) fn findings(files: &[PathBuf]) -> Vec<Finding> {
    let input = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read(path).unwrap())
    };
    findings_of(files.iter().map(input).collect())
}

/// Audits names and bytes as one checkpoint.
pub(crate) fn findings_of(files: Vec<(String, Vec<u8>)>) -> Vec<Finding> {
    let source = |(name, bytes): (String, Vec<u8>)| InputFile {
        source: Rc::new(MemorySource::new(name.clone(), bytes)),
        path: name,
    };
    let (limits, engine) = (Limits::default(), CpuEngine::new());
    futures_executor::block_on(async {
        let files = files.into_iter().map(source).collect();
        let checkpoint = Checkpoint::open("golden", files, &limits, &Uncontrolled).await.unwrap();
        let model = Model::of(&checkpoint);
        let mut findings = header_findings(HeaderContext { checkpoint: &checkpoint, model: &model }).to_vec();
        let engines = Engines { gpu: None, cpu: &engine };
        findings.extend(
            audit_bytes(&checkpoint, &model, engines, &limits, &Uncontrolled)
                .await
                .unwrap()
                .findings
                .to_vec(),
        );
        findings
    })
}

/// The files of a folder, in order.
pub(crate) fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.is_file());
    files.sort();
    files
}
