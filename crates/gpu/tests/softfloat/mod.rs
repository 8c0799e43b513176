//! The functions of `shared/softfloat.wgsl` against the processor's own floats and the codecs.

use crate::twins::random::Random;
use quantscope_gpu::GpuEngine;
use quantscope_kernels::spec::{Binding, Exactness, KernelSpec};
use quantscope_numeric::{bf16, e2m1, e4m3, f16, f32_bits_from_f16, round_to_bf16, round_to_f16};

static SPEC: KernelSpec = KernelSpec {
    name: "softfloat_test",
    exactness: Exactness::Exact,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation", "softfloat"],
    constants: &[],
    workgroup_size: 64,
    params: &["count", "operation"],
    bindings: &[Binding::read("left"), Binding::read("right"), Binding::write("results")],
};

/// Pairs of each random kind.
const PAIRS: usize = 1 << 15;

type Operation = fn(u32, u32) -> u32;

/// What the shader's operations give, by their numbers.
const OPERATIONS: [(&str, Operation); 12] = [
    ("mul", |a, b| bits(f32::from_bits(a) * f32::from_bits(b))),
    ("div", |a, b| bits(f32::from_bits(a) / f32::from_bits(b))),
    ("add", |a, b| bits(f32::from_bits(a) + f32::from_bits(b))),
    ("sub", |a, b| bits(f32::from_bits(a) - f32::from_bits(b))),
    ("to BF16", |a, _| match f32::from_bits(a) {
        value if value.is_nan() => 0x7fc0,
        value => bf16::from_f32(value).to_bits().into(),
    }),
    ("to F16", |a, _| match f32::from_bits(a) {
        value if value.is_nan() => 0x7e00,
        value => f16::from_f32(value).to_bits().into(),
    }),
    ("from F16", |a, _| bits(f32::from_bits(f32_bits_from_f16(low(a))))),
    ("to E4M3", |a, _| match f32::from_bits(a) {
        value if value.is_nan() => e4m3::NAN_BYTE.into(),
        value => e4m3::encode(value).into(),
    }),
    ("from E4M3", |a, _| bits(e4m3::decode(low(a).to_le_bytes()[0]))),
    ("to E2M1 under NVFP4", |a, _| e2m1::encode_nvfp4(f32::from_bits(a)).into()),
    ("to E2M1 under MXFP4", |a, _| e2m1::encode_mx(f32::from_bits(a)).into()),
    ("cast", |a, b| match b % 3 {
        0 => a,
        1 => bits(round_to_bf16(f32::from_bits(a))),
        _ => bits(round_to_f16(f32::from_bits(a))),
    }),
];

/// The bits of a result: every NaN is the same.
fn bits(value: f32) -> u32 {
    if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() }
}

fn low(bits: u32) -> u16 {
    u16::try_from(bits & 0xffff).unwrap()
}

/// Runs every operation over all pairs, and sees a flipped bit of every operation's results.
pub(crate) async fn agree(gpu: &GpuEngine) {
    let (left, right): (Vec<u32>, Vec<u32>) = pairs().into_iter().unzip();
    for ((name, operation), number) in OPERATIONS.into_iter().zip(0..) {
        let params = [u32::try_from(left.len()).unwrap(), number];
        let mut found = gpu.run_shader(&SPEC, &params, &[&left, &right], left.len() as u64).await.unwrap();
        let difference = |found: &[u32]| {
            assert_eq!(found.len(), left.len());
            let wrong = |&at: &usize| operation(left[at], right[at]) != found[at];
            (0..found.len())
                .find(wrong)
                .map(|at| (left[at], right[at], operation(left[at], right[at]), found[at]))
        };
        if let Some((a, b, expected, found)) = difference(&found) {
            panic!("{name} of {a:#010x} and {b:#010x}: expected {expected:#010x}, found {found:#010x}");
        }
        let middle = found.len() / 2;
        found[middle] ^= 1;
        assert!(difference(&found).is_some(), "{name}: a flipped bit was not seen");
    }
}

/// Patterns at which something changes, with both signs and both neighbours.
fn edges() -> Vec<u32> {
    let mut edges = Vec::new();
    let magnitudes: [u32; 24] = [
        0,
        0x0000_0001,
        0x0040_0000,
        0x007f_ffff,
        0x0080_0000,
        0x00ff_ffff,
        0x3300_0000, // half of F16's smallest subnormal
        0x3380_0000,
        0x387f_f000, // between F16's largest subnormal and its smallest normal number
        0x3880_0000,
        0x3a80_0000, // half of E4M3's smallest subnormal
        0x3b00_0000,
        0x3c78_0000,
        0x3c80_0000,
        0x3f00_0000,
        0x3f80_0000,
        0x3fc0_0000,
        0x43e0_0000,
        0x43e8_0000, // where E4M3 would overflow
        0x4770_0000,
        0x477f_f000, // where F16 overflows
        0x7f00_0000,
        0x7f7f_ffff,
        0x7f80_0000,
    ];
    for magnitude in magnitudes {
        for neighbour in [magnitude.saturating_sub(1), magnitude, magnitude + 1] {
            edges.extend([neighbour, neighbour | 0x8000_0000]);
        }
    }
    edges.extend([0x7fc0_0000, 0xffc0_0001, 0x7fff_ffff, 0xffff_ffff]);
    edges
}

fn pairs() -> Vec<(u32, u32)> {
    let edges = edges();
    let mut random = Random(21);
    let mut word = move || u32::try_from(random.word() >> 32).unwrap();
    let mut pairs = Vec::new();
    for &a in &edges {
        pairs.extend(edges.iter().map(|&b| (a, b)));
        pairs.push((a, word()));
        pairs.push((word(), a));
    }
    // The ties of E2M1 and of E4M3, with their neighbours.
    for code in 0..=0x7e_u8 {
        let (value, above) = (e4m3::decode(code), e4m3::decode((code + 1).min(0x7e)));
        let ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0_f32].into_iter();
        for tie in [value, f32::midpoint(value, above)].into_iter().chain(ties) {
            for near in [tie, -tie, tie.next_up(), -tie.next_down()] {
                pairs.push((near.to_bits(), 0x3f80_0000 | word() >> 9));
            }
        }
    }
    for half in 0..=0xffff_u32 {
        // Every pattern of the narrow types, and the values at and beside BF16's ties.
        pairs.push((half << 16 | [0x7fff, 0x8000, 0x8001, 0][half as usize % 4], half));
        pairs.push((half, half << 16));
    }
    for _ in 0..PAIRS {
        let (a, b) = (word(), word());
        let (sign, fraction) = (b & 0x8000_0000, b & 0x007f_ffff);
        // Anything; exponents near each other; products and quotients about the smallest normal number.
        pairs.push((a, b));
        pairs.push((a, (a & 0x7f80_0000).wrapping_add((b >> 28) << 23) & 0x7f80_0000 | sign | fraction));
        let exponent = a >> 23 & 0xff;
        let low_product = (127_u32 - 24 + (b >> 27 & 31)).saturating_sub(exponent).min(254);
        pairs.push((a, low_product << 23 | sign | fraction));
        pairs.push((a >> 4, (113 + (b >> 27 & 31)) << 23 | fraction));
        // Few bits each: exact results and ties. Neighbours: what a subtraction leaves.
        pairs.push((a & 0xfffc_0000, b & 0xfff8_0000));
        pairs.push((a, a.wrapping_add(b >> 29) ^ sign));
        // A quotient that is a short number or next to one.
        let short = f32::from_bits(0x3f80_0000 | (b & 0x007f_f000));
        let product = f32::from_bits(0x3f80_0000 | (a & 0x007f_ffff)) * short;
        pairs.push((product.to_bits(), short.to_bits()));
        // Ties of F16, from its subnormals to its largest numbers.
        pairs.push(((102 + a % 42) << 23 | b & 0x007f_f000 | sign, b));
    }
    pairs
}
