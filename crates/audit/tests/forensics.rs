//! Where the statistics of layouts are right, where they are wrong, and where they keep silent: the table of
//! `docs/rules/forensics.md`, held to what happens.

use crate::fixture::{Chance, Ckpt};
use crate::opened::{data, findings, findings_of};
use quantscope_audit::report::Finding;
use quantscope_numeric::e2m1;
use std::collections::BTreeSet;

fn of_rule(findings: &[Finding], rule: &str) -> BTreeSet<String> {
    findings.iter().filter(|f| f.rule == rule).map(|f| f.subject.clone()).collect()
}

fn golden(case: &str) -> Vec<Finding> {
    let folder = data().join(case);
    let file = ["expected.safetensors", "packed.safetensors"].map(|name| folder.join(name));
    findings(&[file.into_iter().find(|f| f.is_file()).unwrap()])
}

/// The reference's own padded and tiled scales: told by where the padding lies. Scales in whole tiles and
/// nothing more are taken for ComfyUI's, which are in tiles always, and nothing is wrong with them; where
/// there is no padding a single tile of 128 x 4 of random weights tells nothing.
#[test]
fn tiles_of_the_reference_are_told_by_their_padding() {
    for (case, told) in [
        ("golden/pad_swizzle_128x64", &["row_col"][..]),
        ("golden/pad_swizzle_130x144", &["nopad", "row_col"]),
        ("golden/pad_swizzle_16x256", &[]),
        ("golden/pad_swizzle_20x80", &["nopad", "row_col"]),
    ] {
        let found = golden(case);
        let expected: BTreeSet<String> = told.iter().map(|name| format!("{name}+swizzle/blk.proj")).collect();
        assert_eq!(of_rule(&found, "LY601"), expected, "{case}");
        assert_eq!(of_rule(&found, "LY602"), BTreeSet::new(), "{case}");
    }
}

/// The golden layers hold random weights: an exchange of nibbles leaves no trace, and nothing is claimed,
/// neither of the layers nor of their exchanged copies.
#[test]
fn random_weights_tell_nothing() {
    let mut cases = 0;
    for entry in std::fs::read_dir(data().join("golden")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let file = data().join("golden").join(&name).join("expected.safetensors");
        if !name.starts_with("nvfp4_linear") || !file.is_file() {
            continue;
        }
        cases += 1;
        let bytes = std::fs::read(&file).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let span = &header["linear.weight"]["data_offsets"];
        let [begin, end] = [0, 1].map(|i| 8 + length + span[i].as_u64().unwrap() as usize);
        let mut exchanged = bytes.clone();
        exchanged[begin..end].iter_mut().for_each(|b| *b = b.rotate_left(4));
        for bytes in [bytes, exchanged] {
            let found = findings_of(vec![("expected.safetensors".into(), bytes)]);
            assert_eq!(of_rule(&found, "LY602"), BTreeSet::new(), "{name}");
            assert_eq!(of_rule(&found, "LY601"), BTreeSet::new(), "{name}");
        }
    }
    assert!(cases > 10, "{cases} cases");
}

#[test]
fn random_scales_tell_nothing() {
    for seed in 0..20 {
        let mut chance = Chance::new(seed);
        let codes = (0..256 * 128).map(|_| chance.byte()).collect();
        let scales = (0..256 * 16).map(|_| 0x30 + chance.byte() % 0x40).collect();
        let found = Ckpt::new().nvfp4_of("blocks.proj", 256, codes, scales).findings();
        assert!(!found.iter().any(|f| f.rule.starts_with("LY")), "seed {seed}: {found:?}");
    }
}

/// A normal number, nearly: the sum of twelve.
fn normal(chance: &mut Chance) -> f32 {
    (0..12).map(|_| f32::from(chance.byte()) / 255.0).sum::<f32>() - 6.0
}

fn pack(values: &[f32]) -> Vec<u8> {
    values.chunks(2).map(|p| e2m1::pack(e2m1::encode_nvfp4(p[0]), e2m1::encode_nvfp4(p[1]))).collect()
}

fn exchanged(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|b| b.rotate_left(4)).collect()
}

/// Kernels of a convolution are smooth: each weight half of its neighbour's. Right when exchanged, silent when not.
#[test]
fn smooth_kernels_show_exchanged_nibbles() {
    for seed in 0..10 {
        let mut chance = Chance::new(seed);
        let mut last = 0.0;
        let values: Vec<f32> = (0..64 * 432)
            .map(|_| {
                last = 0.6 * last + normal(&mut chance) * 1.5;
                last
            })
            .collect();
        let layer =
            |codes: Vec<u8>| Ckpt::new().nvfp4_of("decoder.conv", 432, codes, vec![0x38; 64 * 27]).findings();
        let codes = pack(&values);
        assert_eq!(of_rule(&layer(codes.clone()), "LY602"), BTreeSet::new(), "seed {seed}");
        assert_eq!(
            of_rule(&layer(exchanged(&codes)), "LY602"),
            BTreeSet::from(["decoder.conv".into()]),
            "seed {seed}"
        );
    }
}

/// Projections of one input weight its columns alike. The exchanged one of three is named; of two, the pair.
#[test]
fn projections_of_one_input_show_the_odd_one() {
    for seed in 0..10 {
        let mut chance = Chance::new(seed);
        let columns: Vec<f32> = (0..512).map(|_| 0.4 + f32::from(chance.byte()) / 128.0).collect();
        let mut projection = || {
            let values: Vec<f32> =
                (0..64).flat_map(|_| columns.clone()).map(|c| c * normal(&mut chance)).collect();
            pack(&values)
        };
        let codes = [projection(), projection(), projection()];
        let attention = |codes: &[Vec<u8>]| {
            let names = ["attn.q_proj", "attn.k_proj", "attn.v_proj"];
            let layers = names.iter().zip(codes);
            let layers =
                layers.fold(Ckpt::new(), |c, (n, b)| c.nvfp4_of(n, 512, b.clone(), vec![0x38; 64 * 32]));
            layers.findings()
        };
        assert_eq!(of_rule(&attention(&codes), "LY602"), BTreeSet::new(), "seed {seed}");
        let mut odd = codes.clone();
        odd[2] = exchanged(&odd[2]);
        let found = attention(&odd);
        assert_eq!(of_rule(&found, "LY602"), BTreeSet::from(["attn.v_proj".into()]), "seed {seed}");
        let sure = found.iter().find(|f| f.rule == "LY602").unwrap();
        assert!(sure.message.contains("is the odd one"), "{}", sure.message);
        let pair = attention(&[codes[0].clone(), exchanged(&codes[1])]);
        let unsure = pair.iter().find(|f| f.rule == "LY602").unwrap();
        assert!(unsure.message.contains("or the other"), "{}", unsure.message);
        // All of them exchanged look like none of them.
        let all = codes.each_ref().map(|c| exchanged(c));
        assert_eq!(of_rule(&attention(&all), "LY602"), BTreeSet::new(), "seed {seed}");
    }
}

/// The factor that a file of the other convention holds is told; sizes in between are not.
#[test]
fn reciprocal_global_scales_are_told_by_the_weights_they_imply() {
    let with = |global: f32| {
        let layer =
            Ckpt::new().nvfp4_of("a", 32, vec![0x77; 64], vec![0x7e; 8]).set("a.weight_scale_2", global);
        of_rule(&layer.findings(), "SV105")
    };
    let told = BTreeSet::from(["a".to_string()]);
    for (largest, is_told) in [(0.05, true), (0.75, true), (8.0, true), (300.0, true), (2000.0, false)] {
        let factor = largest / 2688.0;
        assert_eq!(with(factor), BTreeSet::new(), "{largest} as it should be");
        assert_eq!(!with(1.0 / factor).is_empty(), is_told, "{largest} as its reciprocal");
    }
    assert_eq!(with(3584.0), told);
}
