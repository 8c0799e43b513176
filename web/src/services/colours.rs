//! Whether colours that carry data can be told apart by readers who see colours otherwise.
//!
//! Protan, deutan and tritan vision are simulated by the matrices of Machado, Oliveira and Fernandes, "A
//! physiologically-based model for simulation of color vision deficiency", IEEE Transactions on Visualization and
//! Computer Graphics 15 (2009), for severity 1.0, on linear RGB. Lightness is that of CIELAB.

use super::{error_paint, heat};

const TOKENS: &str = include_str!("../../styles/tokens.css");
const FAMILIES: [&str; 5] = ["fp4", "fp8", "mx", "int", "plain"];
/// Least difference in lightness between two families next to each other, and between two of eight steps of a scale.
const FAMILY_STEP: f64 = 4.0;
const SCALE_STEP: f64 = 4.0;

type Matrix = [[f64; 3]; 3];
const VISIONS: [(&str, Matrix); 4] = [
    ("usual", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    (
        "protan",
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
    ),
    (
        "deutan",
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
    ),
    (
        "tritan",
        [
            [1.255_528, -0.076_749, -0.178_779],
            [-0.078_411, 0.930_809, 0.147_602],
            [0.004_733, 0.691_367, 0.303_900],
        ],
    ),
];

/// Parts of a colour from 0 to 1, as a screen takes them.
type Colour = [f64; 3];

fn linear(part: f64) -> f64 {
    if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
}

/// Luminance, relative to white, of linear parts.
fn luminance([red, green, blue]: Colour) -> f64 {
    0.212_6 * red + 0.715_2 * green + 0.072_2 * blue
}

/// CIELAB lightness of a colour, from 0 to 100, as somebody sees it.
fn lightness(colour: Colour, vision: &Matrix) -> f64 {
    let parts = colour.map(linear);
    let seen = vision.map(|row| row.iter().zip(parts).map(|(a, b)| a * b).sum::<f64>().clamp(0.0, 1.0));
    let luminance = luminance(seen);
    if luminance > 216.0 / 24_389.0 { 116.0 * luminance.cbrt() - 16.0 } else { luminance * 24_389.0 / 27.0 }
}

/// WCAG's contrast of two colours.
fn contrast(a: Colour, b: Colour) -> f64 {
    let (a, b) = (luminance(a.map(linear)), luminance(b.map(linear)));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// A token of the theme whose block begins after `mark`.
fn token(mark: &str, name: &str) -> Colour {
    let block = TOKENS.split_once(mark).and_then(|(_, rest)| rest.split_once('}')).map(|(block, _)| block);
    let hex =
        block.and_then(|block| block.split_once(&format!("--{name}: #"))).and_then(|(_, rest)| rest.get(..6));
    let number = u32::from_str_radix(hex.expect(name), 16).expect(name);
    [16, 8, 0].map(|shift| f64::from((number >> shift) & 255) / 255.0)
}

const THEMES: [&str; 3] = [":root {", ":root:not([data-theme=\"light\"]) {", ":root[data-theme=\"dark\"] {"];

/// The smallest step between colours next to each other in lightness, under the vision where it is smallest.
fn least_step(colours: &[Colour]) -> f64 {
    let steps = VISIONS.iter().flat_map(|(_, vision)| {
        let mut seen: Vec<f64> = colours.iter().map(|colour| lightness(*colour, vision)).collect();
        seen.sort_by(f64::total_cmp);
        seen.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()
    });
    steps.fold(f64::INFINITY, f64::min)
}

/// Eight steps of a scale: a colour laid over the ground, from faintest to full.
fn scale(ground: Colour, colour: Colour, faintest: f32) -> Vec<Colour> {
    let laid = |step: u8| {
        let alpha = f64::from(faintest) + (1.0 - f64::from(faintest)) * f64::from(step) / 7.0;
        let mut parts = ground;
        for (part, full) in parts.iter_mut().zip(colour) {
            *part += (full - *part) * alpha;
        }
        parts
    };
    (0..8).map(laid).collect()
}

#[test]
fn families_differ_in_lightness_whoever_looks() {
    for theme in THEMES {
        let colours = FAMILIES.map(|family| token(theme, family));
        let step = least_step(&colours);
        assert!(step >= FAMILY_STEP, "{theme} {step:.2}");
    }
}

#[test]
fn scales_rise_by_lightness_alone_whoever_looks() {
    for theme in THEMES {
        let ground = token(theme, "surface");
        for family in FAMILIES {
            for faintest in [heat::FAINTEST, error_paint::FAINTEST] {
                let steps = scale(ground, token(theme, family), faintest);
                for (name, vision) in &VISIONS {
                    let seen: Vec<f64> = steps.iter().map(|step| lightness(*step, vision)).collect();
                    let rises = seen.windows(2).map(|pair| pair[1] - pair[0]);
                    let direction = seen[7] - seen[0];
                    let least = rises.map(|rise| rise * direction.signum()).fold(f64::INFINITY, f64::min);
                    assert!(least >= SCALE_STEP, "{theme} {family} {name} {least:.2}");
                }
            }
        }
    }
}

#[test]
fn families_stand_out_and_words_on_them_can_be_read() {
    for theme in THEMES {
        for family in FAMILIES {
            let colour = token(theme, family);
            for ground in ["surface", "paper"] {
                let found = contrast(colour, token(theme, ground));
                assert!(found >= 3.0, "{theme} {family} on {ground}: {found:.2}");
            }
            let found = contrast(colour, token(theme, &format!("on-{family}")));
            assert!(found >= 4.5, "{theme} words on {family}: {found:.2}");
        }
    }
}

#[test]
fn hues_alone_are_told_from_lightness() {
    // Red and green as bright as each other: apart for most, the same for deutan eyes.
    assert!(least_step(&[[0.83, 0.24, 0.20], [0.20, 0.55, 0.20]]) < FAMILY_STEP);
    // White and black are 100 apart for everybody.
    assert!((least_step(&[[0.0; 3], [1.0; 3]]) - 100.0).abs() < 0.1);
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9);
}
