//! Checkpoints of other projects: recognised, measured, and no fault found where there is none.

use futures_util::future::LocalBoxFuture;
use quantscope_audit::bytes::audit_bytes;
use quantscope_audit::{Checkpoint, Engines, HeaderContext, InputFile, Model, header_findings};
use quantscope_format::{Limits, MemorySource, Source, SourceError, Uncontrolled};
use quantscope_kernels::CpuEngine;
use serde_json::{Value, json};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(path)
}

/// A case as a folder: its weights, and a config where it has one.
struct Case {
    name: String,
    files: Vec<InputFile>,
}

fn file(path: &str, bytes: Vec<u8>) -> InputFile {
    InputFile { path: path.into(), source: Rc::new(MemorySource::new(path.to_string(), bytes)) }
}

fn case(name: String, packed: &Path, about: &Path) -> Case {
    let about: Value = serde_json::from_slice(&std::fs::read(about).unwrap()).unwrap();
    let mut files = vec![file("model.safetensors", std::fs::read(packed).unwrap())];
    if about["config"].as_object().is_some_and(|config| !config.is_empty()) {
        files.push(file("config.json", about["config"].to_string().into_bytes()));
    }
    Case { name, files }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

fn cases() -> Vec<Case> {
    let mut found = Vec::new();
    for folder in entries(&data("golden-foreign")) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        found.push(case(name, &folder.join("packed.safetensors"), &folder.join("case.json")));
    }
    for family in ["awq", "comfy", "ct", "gpt_oss", "gptq", "mlx", "refused", "torchao"] {
        for about in entries(&data("made").join(family)) {
            let packed = about.with_extension("packed.safetensors");
            if about.extension().is_some_and(|e| e == "json") && !about.to_string_lossy().contains("to_") {
                let stem = about.file_stem().unwrap().to_string_lossy();
                found.push(case(format!("{family}_{stem}"), &packed, &about));
            }
        }
    }
    assert!(found.len() > 60, "only {} cases", found.len());
    found
}

/// Opens a case and runs every rule.
fn audit(files: Vec<InputFile>) -> (Checkpoint, Model, Vec<String>) {
    futures_executor::block_on(async {
        let limits = Limits::default();
        let checkpoint = Checkpoint::open("case", files, &limits, &Uncontrolled).await.unwrap();
        let model = Model::of(&checkpoint);
        let mut findings = header_findings(HeaderContext { checkpoint: &checkpoint, model: &model }).to_vec();
        let cpu = CpuEngine::new();
        let engines = Engines { gpu: None, cpu: &cpu };
        findings.extend(
            audit_bytes(&checkpoint, &model, engines, &limits, &Uncontrolled)
                .await
                .unwrap()
                .findings
                .to_vec(),
        );
        let lines = findings.into_iter().map(|f| format!("{} {}", f.rule, f.message)).collect();
        (checkpoint, model, lines)
    })
}

#[test]
fn sound_files_have_no_findings() {
    let mut faults = Vec::new();
    for Case { name, files } in cases() {
        let (_, model, findings) = audit(files);
        // True of these files: MLX does not pad its headers, and one layer asks for full precision.
        let known = |f: &String| {
            (name.starts_with("mlx_") && f.starts_with("ST006"))
                || (name == "comfy_fp8_marked" && f.starts_with("CM973"))
        };
        faults.extend(findings.into_iter().filter(|f| !known(f)).map(|f| format!("{name}: {f}")));
        if !model.layers.iter().any(quantscope_audit::LayerInfo::is_quantized) {
            faults.push(format!("{name}: no quantized layer"));
        }
        for layer in model.layers.iter().filter(|l| l.is_quantized() && !l.is_complete) {
            faults.push(format!("{name}: {} lacks something", layer.name));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Bits of codes, scales and zero points per weight, by hand from the tensors of the case.
#[test]
fn bits_per_weight_count_everything_per_block() {
    let expected = [
        // 4 + 16 / 32 for scales + 4 / 32 for zero points.
        ("gptq_4bit_asym", 4.625),
        ("awq_gemm_4bit", 4.625),
        // 4 + 32 / 64 for block maxima.
        ("bnb_nf4", 4.5),
        // 4 + 8 / 64, and two singles over 17,408 weights.
        ("bnb_nf4_nested", 4.125 + 64.0 / 17408.0),
        // 8 + 32 / 64.
        ("bnb_int8", 8.5),
        // 3 + (32 + 32) / 64.
        ("mlx_affine_3bit", 4.0),
        ("mlx_mxfp4", 4.25),
        ("mlx_mxfp8", 8.25),
        ("torchao_nvfp4", 4.5),
        ("comfy_fp8_new", 8.0),
        // 4 + 512 bytes of tiles over 3,072 weights.
        ("comfy_nvfp4_48x64", 4.0 + 4096.0 / 3072.0),
        // 4 + 16 / 16 + one word of zero points for 16 weights of 6 rows, 32 * 4 / 384.
        ("ct_int4_group_asymmetric", 5.0 + 128.0 / 384.0),
        ("gpt_oss_mxfp4", 4.25),
    ];
    let mut cases = cases();
    for (name, bits) in expected {
        let at = cases.iter().position(|c| c.name == name).unwrap_or_else(|| panic!("no case {name}"));
        let (_, model, _) = audit(cases.swap_remove(at).files);
        let layer = model.layers.iter().find(|l| l.is_quantized()).unwrap();
        assert!((layer.bits_per_weight() - bits).abs() < 1e-9, "{name}: {}", layer.bits_per_weight());
    }
}

/// Faults in such files are found as in others.
#[test]
fn faults_are_found() {
    let golden = |name: &str| {
        let folder = data("golden-foreign").join(name);
        let about: Value = serde_json::from_slice(&std::fs::read(folder.join("case.json")).unwrap()).unwrap();
        (std::fs::read(folder.join("packed.safetensors")).unwrap(), about)
    };
    let rules = |file_bytes: Vec<u8>, config: &Value| {
        let files =
            vec![file("model.safetensors", file_bytes), file("config.json", config.to_string().into_bytes())];
        audit(files).2.iter().map(|line| line.split(' ').next().unwrap().to_string()).collect::<Vec<_>>()
    };
    let renamed = |bytes: &[u8], from: &str, to: &str| {
        let text = String::from_utf8_lossy(bytes.get(8..).unwrap()).into_owned();
        assert!(text.contains(from) && from.len() == to.len());
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut out = bytes.to_vec();
        out.get_mut(at..at + to.len()).unwrap().copy_from_slice(to.as_bytes());
        out
    };
    // A scale that is not there.
    let (packed, about) = golden("gptq_4bit_sym");
    assert_eq!(rules(renamed(&packed, "linear.scales", "linear.scalez"), &about["config"]), ["SC001"]);
    let (packed, about) = golden("bnb_nf4");
    assert_eq!(rules(renamed(&packed, "weight.absmax", "weight.absmin"), &about["config"]), ["SC001"]);
    let (packed, about) = golden("gptq_4bit_sym");
    assert_eq!(rules(renamed(&packed, "linear.qzeros", "linear.qzerox"), &about["config"]), ["SC001"]);
    // A group size that does not fit.
    let (packed, mut about) = golden("awq_gemm_4bit");
    about["config"]["quantization_config"]["group_size"] = json!(16);
    let found = rules(packed, &about["config"]);
    assert!(found.iter().all(|rule| rule == "SH501") && found.len() == 2, "{found:?}");
}

/// A source that counts how often it is read.
struct Counting {
    inner: MemorySource,
    reads: Rc<Cell<u64>>,
}

impl Source for Counting {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        self.reads.set(self.reads.get() + 1);
        self.inner.read(offset, buf)
    }
}

/// Short tensors that say how layers are stored lie side by side, and are read so: thousands in a few reads.
#[test]
fn thousands_of_descriptors_take_few_reads() {
    const LAYERS: u64 = 3000;
    let mut header = serde_json::Map::new();
    let mut bytes = Vec::new();
    for i in 0..LAYERS {
        let at = bytes.len();
        bytes.extend(3_i64.to_le_bytes());
        bytes.extend(i64::try_from(i % 8 + 1).unwrap().to_le_bytes());
        let entry = json!({"dtype": "I64", "shape": [2], "data_offsets": [at, at + 16]});
        header.insert(format!("layers.{i}.weight_shape"), entry);
    }
    for (leaf, dtype, shape, len) in
        [("weight_packed", "I32", [3, 1], 12), ("weight_scale", "BF16", [3, 1], 6)]
    {
        for i in 0..LAYERS {
            let at = bytes.len();
            bytes.resize(at + len, 1);
            let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [at, at + len]});
            header.insert(format!("layers.{i}.{leaf}"), entry);
        }
    }
    let header = Value::Object(header).to_string().into_bytes();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(bytes);
    let reads = Rc::new(Cell::new(0));
    let inner = MemorySource::new("model.safetensors", file);
    let source = Rc::new(Counting { inner, reads: Rc::clone(&reads) });
    let files = vec![InputFile { path: "model.safetensors".into(), source }];
    let limits = Limits::default();
    let checkpoint =
        futures_executor::block_on(Checkpoint::open("many", files, &limits, &Uncontrolled)).unwrap();
    assert!(reads.get() <= 8, "{} reads", reads.get());
    let model = Model::of(&checkpoint);
    for i in 0..LAYERS {
        let layer = model.layer(&format!("layers.{i}")).unwrap();
        assert_eq!(layer.shape, [3, i % 8 + 1], "layer {i}");
    }
}
