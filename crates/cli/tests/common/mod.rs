//! The built program, and copies of golden checkpoints that tests may damage.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]
#![allow(dead_code, reason = "each test file uses a part of this")]

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A file or folder of the golden data.
pub(crate) fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(path)
}

/// The program with these arguments.
pub(crate) fn quantscope<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(args: I) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quantscope"));
    command.args(args);
    command
}

/// Runs the program; gives its exit status, standard output and standard error.
pub(crate) fn run<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(args: I) -> (i32, String, String) {
    let Output { status, stdout, stderr } = quantscope(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Runs the program with `--json`; standard output must be one document and nothing else.
pub(crate) fn run_json<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(args: I) -> (i32, Value) {
    let mut command = quantscope(args);
    let output = command.arg("--json").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{command:?}: {error}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    });
    (output.status.code().unwrap(), value)
}

/// Copies the files of a folder.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// The weight files of a folder.
pub(crate) fn shards(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut shards: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect();
    shards.sort();
    shards
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// The tensors and metadata of a weight file, as the reference crate reads them.
pub(crate) fn read_shard(path: &Path) -> (Tensors, HashMap<String, String>) {
    let file = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let tensors = tensors.tensors().into_iter().map(|(name, view)| {
        let tensor =
            Tensor { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
        (name, tensor)
    });
    (tensors.collect(), header.metadata().clone().unwrap_or_default())
}

/// All tensors of a folder.
pub(crate) fn read_folder(folder: &Path) -> Tensors {
    shards(folder).iter().flat_map(|shard| read_shard(shard).0).collect()
}

/// Writes a weight file with the reference crate.
pub(crate) fn write_shard(path: &Path, tensors: &Tensors, metadata: HashMap<String, String>) {
    let views =
        tensors.iter().map(|(name, t)| (name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).unwrap()));
    fs::write(path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
}

/// Changes the tensors of the first weight file in place.
pub(crate) fn edit(folder: &Path, change: impl FnOnce(&mut Tensors)) {
    let path = shards(folder).remove(0);
    let (mut tensors, metadata) = read_shard(&path);
    change(&mut tensors);
    write_shard(&path, &tensors, metadata);
}

/// A JSON file.
pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The rules of a report's findings, sorted, with how often each was found.
pub(crate) fn rules_of(report: &Value) -> BTreeMap<String, u64> {
    let mut rules = BTreeMap::new();
    for finding in report["findings"].as_array().unwrap() {
        *rules.entry(finding["rule"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    rules
}
