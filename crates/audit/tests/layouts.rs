//! The byte rules in layouts other than blocks of 16 and float scales: each reads the bytes of its own scheme.

use crate::fixture::Ckpt;

/// Bytes that are codes of every kind, none NaN.
fn codes(count: u8) -> Vec<u8> {
    (0..count).map(|i| i.wrapping_mul(37) % 0x7f).collect()
}

fn w4a8() -> Ckpt {
    Ckpt::new()
        .tensor("a.weight", "U8", &[4, 32], codes(128))
        .tensor("a.weight_scale", "F8_E4M3", &[4, 2], vec![0x40; 8])
        .number("a.weight_scale_2", 0.001)
        .number("a.input_scale", 0.01)
}

fn mxfp4() -> Ckpt {
    Ckpt::new().tensor("a.weight", "U8", &[4, 32], codes(128)).tensor(
        "a.weight_scale",
        "U8",
        &[4, 2],
        vec![120; 8],
    )
}

fn mxfp8() -> Ckpt {
    Ckpt::new().tensor("a.weight", "F8_E4M3", &[2, 64], codes(128)).tensor(
        "a.weight_scale",
        "U8",
        &[2, 2],
        vec![120; 4],
    )
}

fn tiles_of_powers() -> Ckpt {
    Ckpt::new().tensor("a.weight", "F8_E4M3", &[130, 1], codes(130)).tensor(
        "a.weight_scale_inv",
        "F8_E8M0",
        &[2, 1],
        vec![120; 2],
    )
}

/// A sound checkpoint, the tensor that is changed, the byte and its value, the rule that must tell.
type Case = (fn() -> Ckpt, &'static str, fn(&mut crate::fixture::Tensor), &'static str);

#[test]
fn each_layout_has_its_bytes_checked() {
    let cases: &[Case] = &[
        (w4a8, "a.weight_scale", |t| t.bytes[3] = 0x7f, "SV101"),
        (w4a8, "a.weight_scale", |t| t.bytes[3] = 0x00, "SV102"),
        (mxfp4, "a.weight_scale", |t| t.bytes[7] = 255, "SV101"),
        (mxfp8, "a.weight_scale", |t| t.bytes[3] = 255, "SV101"),
        (mxfp8, "a.weight", |t| t.bytes[100] = 0xff, "SV104"),
        (tiles_of_powers, "a.weight_scale_inv", |t| t.bytes[1] = 255, "SV101"),
        (tiles_of_powers, "a.weight", |t| t.bytes[129] = 0x7f, "SV104"),
    ];
    for (sound, tensor, change, rule) in cases {
        let (before, after) = (sound().rules(), sound().change(tensor, *change).rules());
        let values = |rules: &std::collections::BTreeSet<String>| -> Vec<String> {
            rules.iter().filter(|rule| rule.starts_with("SV")).cloned().collect()
        };
        assert_eq!(values(&before), Vec::<String>::new(), "{tensor} before");
        assert_eq!(values(&after), [*rule], "{tensor}");
    }
}
