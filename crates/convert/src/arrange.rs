//! Padding and tiles: how codes and block scales are to lie in the output, and what the header says of it.
//!
//! Source: `formats.md` f. The reference's exporter pads and tiles matrices of the NVFP4 layout and nothing else;
//! convolutions are left out by its first revision and refused by its head.

use crate::error::ConvertError;
use crate::layout::Entry;
use crate::plan::{Plan, Rows, Step};
use crate::recipe::{Conv3d, Recipe};
use crate::select::is_kept_by_rule;
use quantscope_audit::{Checkpoint, Model};
use quantscope_numeric::Dtype;
use quantscope_schemes::{Arrangement, Form, Kind, LayoutNote, PackedForm, Padding, layout_notes};
use std::collections::{BTreeMap, HashMap};

/// Most bytes that a band of tiles may have: it is held in memory, and no model has rows of so many blocks.
const LARGEST_BAND: u64 = 64 << 20;

/// How an output lies whose bytes come row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lie {
    /// Bytes of a row as they come.
    pub cols: u64,
    /// How they are to lie.
    pub to: Arrangement,
}

/// What the arrangement of a plan's outputs comes to.
#[derive(Debug, Default)]
pub(crate) struct Arranged {
    /// Outputs that do not lie as they come, by name.
    lies: BTreeMap<String, Lie>,
    /// What headers say of layers, by the names of the tensors that hold their codes.
    notes: BTreeMap<String, (String, LayoutNote)>,
    /// Tensors that are arranged.
    tensors: u64,
    /// Whether arranging was asked for.
    pub(crate) is_asked: bool,
}

impl Arranged {
    /// How an output lies, if not as it comes.
    pub(crate) fn of(&self, name: &str) -> Option<Lie> {
        self.lies.get(name).copied()
    }

    /// What the header of a file says of its layers.
    pub(crate) fn note(&self, entries: &[Entry]) -> Option<(String, String)> {
        let notes = || entries.iter().filter_map(|(spec, _)| self.notes.get(&spec.name));
        let is_any = notes().next().is_some();
        is_any.then(|| layout_notes(notes().map(|(layer, note)| (layer.as_str(), *note))))
    }

    /// What the user should know.
    pub(crate) fn warning(&self) -> Option<String> {
        (self.is_asked && self.tensors == 0).then(|| {
            "nothing is padded or tiled: there is no matrix in the NVFP4 layout that is not so already"
                .to_string()
        })
    }
}

/// What the recipe asks for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    padding: Option<Padding>,
    tiles: Option<bool>,
}

/// The two tensors of a layer that may be arranged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Codes,
    Scales,
}

/// Codes and scales of one layer: how they come and how they are to lie.
struct Layer {
    name: String,
    note: LayoutNote,
    codes: Move,
    scales: Move,
    /// Whether the source has a note of it that still holds.
    is_noted: bool,
}

/// From one arrangement into another.
#[derive(Clone, Copy)]
struct Move {
    from: Arrangement,
    /// Rows and bytes of a row that are no padding.
    kept: [u64; 2],
    to: Arrangement,
}

impl Asked {
    /// `--pad none` takes tiles off as well, unless they are asked for beside it.
    fn of(recipe: &Recipe) -> Self {
        let bare = recipe.pad == Some(Padding::None);
        let tiles = if recipe.swizzle { Some(true) } else { bare.then_some(false) };
        Self { padding: recipe.pad, tiles }
    }

    const NOTHING: Self = Self { padding: None, tiles: None };

    /// A layer that is encoded now: nothing of it is padding.
    fn fresh(self, name: &str, codes: [u64; 2], scales: [u64; 2]) -> Layer {
        let padding = self.padding.unwrap_or(Padding::None);
        let is_tiled = self.tiles.unwrap_or(false);
        let to = Arrangement::plain(scales).padded(padding);
        let (codes, scales) = (
            Move {
                from: Arrangement::plain(codes),
                kept: codes,
                to: Arrangement::plain(codes).padded(padding),
            },
            Move {
                from: Arrangement::plain(scales),
                kept: scales,
                to: if is_tiled { to.tiled() } else { to },
            },
        );
        let shape = [codes.kept[0], codes.kept[1].saturating_mul(2)];
        let note = LayoutNote { shape, is_tiled };
        Layer { name: name.to_string(), note, codes, scales, is_noted: false }
    }

    /// A layer that stands in the source so: padding that is known comes off before more is put on.
    fn stored(self, name: &str, form: &PackedForm) -> Layer {
        let [rows, cols] = form.shape;
        let (codes, scales) = (form.codes.1, form.scales.1);
        let bare_codes = if self.padding.is_some() { [rows, cols / 2] } else { [codes.rows, codes.cols] };
        let blocks = bare_codes[1].saturating_mul(2) / form.block.max(1);
        let is_tiled = self.tiles.unwrap_or(scales.is_tiled);
        let mut layer = self.fresh(name, bare_codes, [bare_codes[0], blocks]);
        layer.codes.from = codes;
        layer.scales.from = scales;
        if self.padding.is_none() && is_tiled == scales.is_tiled {
            // Nothing is asked of these.
            layer.is_noted = form.is_shape_known;
            layer.scales = Move { from: scales, kept: [scales.rows, scales.cols], to: scales };
        } else if is_tiled && !layer.scales.to.is_tiled {
            layer.scales.to = layer.scales.to.tiled();
        }
        layer.note = LayoutNote { shape: form.shape, is_tiled };
        layer
    }
}

impl Layer {
    fn of(&self, part: Part) -> Move {
        match part {
            Part::Codes => self.codes,
            Part::Scales => self.scales,
        }
    }

    /// Whether its shapes and order alone do not say what it is.
    fn needs_note(&self) -> bool {
        let padded = |m: &Move| [m.to.rows, m.to.cols] != m.kept;
        let logical = [self.codes.to.rows, self.codes.to.cols.saturating_mul(2)] == self.note.shape;
        self.is_noted || padded(&self.codes) || padded(&self.scales) || self.note.is_tiled || !logical
    }
}

fn sides(shape: &[u64]) -> Option<[u64; 2]> {
    shape.try_into().ok()
}

/// The part that an output of that type is, in the layout that can be arranged.
fn part_of(dtype: Dtype, shape: &[u64]) -> Option<Part> {
    match (dtype, shape.len()) {
        (Dtype::U8, 2) => Some(Part::Codes),
        (Dtype::F8_E4M3, 2) => Some(Part::Scales),
        _ => None,
    }
}

/// What the source's layers are arranged to, by the place of each of their tensors.
struct Stored<'a> {
    checkpoint: &'a Checkpoint,
    model: &'a Model,
    owners: HashMap<(u32, u32), (usize, &'a str)>,
}

impl<'a> Stored<'a> {
    fn new(checkpoint: &'a Checkpoint, model: &'a Model) -> Self {
        let mut owners = HashMap::new();
        for (i, layer) in model.layers.iter().enumerate().filter(|(_, l)| l.scheme.can_be_arranged()) {
            owners.extend(layer.members.iter().map(|m| ((m.shard, m.tensor), (i, m.leaf.as_str()))));
        }
        Self { checkpoint, model, owners }
    }
}

/// Decides how the outputs of `files` lie: shapes are those of the arrangement then, and copies of tensors that
/// lie otherwise become [`Step::Rows`].
pub(crate) fn arrange(
    (checkpoint, model): (&Checkpoint, &Model),
    recipe: &Recipe,
    plan: &Plan,
    files: &mut [Vec<Entry>],
) -> Result<Arranged, ConvertError> {
    let asked = Asked::of(recipe);
    let is_asked = asked.padding.is_some() || asked.tiles.is_some();
    let mut arranged = Arranged { is_asked, ..Arranged::default() };
    let stored = Stored::new(checkpoint, model);
    for entries in files.iter_mut() {
        let made = made_shapes(entries);
        for (spec, step) in entries {
            let layer = layer_of(&stored, recipe, asked, plan, &made, step)?;
            let Some((layer, part)) = layer.zip(part_of(spec.dtype, &spec.shape)) else { continue };
            let Move { from, kept, to } = layer.of(part);
            check(&layer.name, from, to)?;
            if part == Part::Codes && layer.needs_note() {
                arranged.notes.insert(spec.name.clone(), (layer.name.clone(), layer.note));
            }
            let unchanged = from == to && kept == [from.rows, from.cols];
            if unchanged {
                continue;
            }
            arranged.tensors += 1;
            if let Step::Copy(place) = step {
                *step = Step::Rows(Box::new(Rows { place: place.clone(), from, kept }));
            }
            spec.shape = vec![to.rows, to.cols];
            arranged.lies.insert(spec.name.clone(), Lie { cols: kept[1], to });
        }
    }
    Ok(arranged)
}

/// Shapes of codes and scales that are made anew, by the layer they belong to.
type Made = HashMap<(bool, usize), [Option<[u64; 2]>; 2]>;

/// The layer that a step makes something of: whether it is packed, and its index.
fn made(step: &Step) -> Option<(bool, usize)> {
    match *step {
        Step::Codes(i) | Step::BlockScales(i) => Some((true, i)),
        Step::Recast(i, _) => Some((false, i)),
        _ => None,
    }
}

fn made_shapes(entries: &[Entry]) -> Made {
    let mut shapes = Made::new();
    for (spec, step) in entries {
        if let (Some(key), Some(part)) = (made(step), part_of(spec.dtype, &spec.shape)) {
            let both = shapes.entry(key).or_default();
            let slot = if part == Part::Codes { both.first_mut() } else { both.last_mut() };
            if let Some(slot) = slot {
                *slot = sides(&spec.shape);
            }
        }
    }
    shapes
}

/// The layer of an output that a step makes, where it can be arranged.
fn layer_of(
    stored: &Stored<'_>,
    recipe: &Recipe,
    asked: Asked,
    plan: &Plan,
    shapes: &Made,
    step: &Step,
) -> Result<Option<Layer>, ConvertError> {
    let fresh = |key: (bool, usize), name: &str| match shapes.get(&key) {
        Some(&[Some(codes), Some(scales)]) => Some(asked.fresh(name, codes, scales)),
        _ => None,
    };
    Ok(match (step, made(step)) {
        (Step::Codes(i) | Step::BlockScales(i), Some(key)) => {
            let packed = plan.packed.get(*i).filter(|p| p.scheme.can_be_arranged());
            let linear = packed.filter(|p| p.matrix.form != Form::Conv3d);
            if let Some(conv) = packed.filter(|p| p.kind == Kind::Conv3d) {
                refuse_if_strict(recipe, asked, &conv.name)?;
            }
            linear.and_then(|p| fresh(key, &p.name))
        }
        (Step::Recast(i, _), Some(key)) => {
            let changed = plan.changed.get(*i).filter(|c| c.to.can_be_arranged());
            changed.and_then(|c| fresh(key, &c.name))
        }
        (Step::Copy(place), _) => {
            let owner = stored.owners.get(&(place.shard, place.tensor));
            let layer = owner.and_then(|&(i, leaf)| Some((stored.model.layers.get(i)?, leaf)));
            let asked = match layer {
                // What stays as it is keeps what is known of it.
                Some((layer, _)) if is_kept_by_rule(recipe, &layer.name) => Asked::NOTHING,
                _ => asked,
            };
            match layer {
                Some((layer, _)) if layer.kind == Kind::Conv3d => {
                    refuse_if_strict(recipe, asked, &layer.name)?;
                    None
                }
                Some((layer, leaf)) => {
                    let form = layer.scheme.packed_form(&layer.view(stored.checkpoint));
                    form.filter(|f| {
                        let lie = match leaf {
                            leaf if leaf == f.codes.0 => f.codes.1,
                            leaf if leaf == f.scales.0 => f.scales.1,
                            _ => return false,
                        };
                        // A part of a tensor, as of a stack taken apart, is not judged by the whole.
                        lie.len() == Some(place.len())
                    })
                    .map(|f| asked.stored(&layer.name, &f))
                }
                None => None,
            }
        }
        _ => None,
    })
}

fn refuse_if_strict(recipe: &Recipe, asked: Asked, name: &str) -> Result<(), ConvertError> {
    if recipe.conv3d == Conv3d::Lenient || asked.padding.is_none() && asked.tiles != Some(true) {
        return Ok(());
    }
    Err(ConvertError::Tensor {
        tensor: name.to_string(),
        reason: "is a 3-D convolution, which --conv3d strict neither pads nor tiles".into(),
        remedy: "leave out --pad and --swizzle, or choose --conv3d lenient".into(),
    })
}

/// Refuses bands that no memory should hold.
fn check(name: &str, from: Arrangement, to: Arrangement) -> Result<(), ConvertError> {
    let band = |a: Arrangement| a.band().filter(|&bytes| bytes <= LARGEST_BAND);
    if band(from).is_some() && band(to).is_some() && to.len().is_some() {
        return Ok(());
    }
    Err(ConvertError::Tensor {
        tensor: name.to_string(),
        reason: format!("has scales of {} columns, too many for tiles of 128 rows", to.cols),
        remedy: format!("keep it with --layer '{name}=keep'"),
    })
}
