//! Checkpoints that the reference wrote, audited whole: no errors, and of everything else exactly what is
//! known to be odd about them.

use crate::opened::{data, files_of, findings};
use quantscope_audit::report::Finding;
use std::collections::BTreeMap;

/// What is odd about the exports, by folder. All others have no finding at all.
const ODDITIES: &[(&str, &[(&str, usize)])] = &[
    // FP8 tiles of a mixed model are named as the native form names them and declared as the other does.
    ("golden/e2e_llama_mixed_nvfp4_fp8_pb/expected", &[("SN203 Warning", 1)]),
    ("golden-pr/fp8/mixed_nvfp4_fp8pb/expected", &[("SN203 Warning", 1)]),
    // The release before packed convolutions: everything is promised, nothing is packed.
    ("golden/e2e_wan_vae_nvfp4_release/expected", &[("CF302 Error", 43), ("CV902 Warning", 1)]),
    // Plain convolutions over two axes that the config does not exclude.
    ("golden-pr/vae/wan21_conv2d_too/expected", &[("CF302 Error", 8)]),
    // Experts of a freshly made model are equal, biases apart.
    ("golden-pr/leaks/fused_experts_leak/expected", &[("TI702 Info", 7)]),
];

/// Every folder called `expected`, below the golden data.
fn expected_folders() -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = vec![data().join("golden"), data().join("golden-pr")];
    while let Some(folder) = rest.pop() {
        for path in std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
            if path.ends_with("expected") {
                found.push(path.strip_prefix(data()).unwrap().to_string_lossy().into_owned());
            } else {
                rest.push(path);
            }
        }
    }
    found.sort();
    found
}

fn counted(findings: &[Finding]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for finding in findings {
        *counts.entry(format!("{} {:?}", finding.rule, finding.severity)).or_insert(0) += 1;
    }
    counts
}

#[test]
fn exports_of_the_reference_have_no_findings_but_their_oddities() {
    let folders = expected_folders();
    assert!(folders.len() > 40, "the walk found {} folders", folders.len());
    let known: BTreeMap<&str, &[(&str, usize)]> = ODDITIES.iter().copied().collect();
    assert!(known.keys().all(|folder| folders.iter().any(|f| f == folder)), "an oddity of no folder");
    let mut wrong = Vec::new();
    for folder in &folders {
        let found = findings(&files_of(&data().join(folder)));
        let odd = known.get(folder.as_str()).copied().unwrap_or_default();
        let odd: BTreeMap<String, usize> = odd.iter().map(|(rule, n)| ((*rule).to_string(), *n)).collect();
        if counted(&found) != odd {
            wrong.push(format!("{folder}: {:?}\n{found:#?}", counted(&found)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Single layers of every scheme, with values at the edges of their types, the reference's and those of other
/// projects: all sound but those of zeros alone, which the reference writes as NaN.
#[test]
fn single_layers_are_sound() {
    let mut seen = 0;
    for family in ["golden", "golden-foreign"] {
        let folders = std::fs::read_dir(data().join(family)).unwrap().map(|e| e.unwrap().path());
        let mut folders: Vec<_> = folders.filter(|f| f.is_dir()).collect();
        folders.sort();
        for folder in folders {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            let files = ["expected.safetensors", "packed.safetensors"].map(|file| folder.join(file));
            // The padded and tiled ones hold several forms of one layer; `forensics.rs` is about them.
            let Some(file) = files.into_iter().find(|f| f.is_file() && !name.starts_with("pad_")) else {
                continue;
            };
            seen += 1;
            let found = findings(&[file]);
            let counts = counted(&found);
            let rules: Vec<&str> = counts.keys().map(String::as_str).collect();
            let expected: &[&str] = match name.as_str() {
                "fp8_tensor_zero" => &["SV102 Error", "SV104 Error"],
                "nvfp4_linear_zero_tensor" => &["SV101 Error", "SV102 Error"],
                // One outlier pushes the scales of the other blocks to the end of their range.
                heavy if heavy.contains("heavy") => &["SV106 Warning"],
                // MLX pads no header; its names decide whether tensors fall on their alignment.
                "mlx_affine_3bit"
                | "mlx_affine_4bit"
                | "mlx_affine_4bit_bf16"
                | "mlx_affine_4bit_f16"
                | "mlx_affine_6bit"
                | "mlx_affine_8bit"
                | "mlx_mxfp4"
                | "mlx_mxfp8" => &["ST006 Warning"],
                _ => &[],
            };
            assert_eq!(rules, expected, "{name}: {found:#?}");
        }
    }
    assert!(seen > 70, "{seen} cases");
}
