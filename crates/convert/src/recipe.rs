//! What the user asks for, checked: schemes exist and can be written, patterns compile.

mod fields;
mod file;
mod lines;
mod write;

pub use fields::RecipeFields;

use crate::calibration::Calibration;
use crate::error::ConvertError;
use crate::names::Rules;
use crate::size;
use crate::tie_pattern::{TieMember, TiePattern};
use quantscope_format::Glob;
use quantscope_kernels::FloatType;
use quantscope_schemes::{EncodeSettings, Family, Fp8Rounding, Kind, Padding, Scheme, by_id, schemes};
use std::collections::BTreeMap;

/// What is done with a tensor that is zero everywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ZeroTensors {
    /// Its scale would be NaN: refuse, naming it.
    #[default]
    Refuse,
    /// Write the NaN bytes that the reference writes.
    Reference,
}

/// Which 3-D convolutions are packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Conv3d {
    /// All that can be, as the first revision of the reference's pull request 1809 does.
    #[default]
    Lenient,
    /// Those that its head packs; it refuses the others.
    Strict,
}

/// What becomes of tensors that share their values with another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TiePolicy {
    /// Known and declared ties keep one side, with the largest of all activation maxima.
    #[default]
    ByName,
    /// The same, but each side keeps the activation scale of its own.
    KeepInputScale,
    /// Nothing is tied.
    Off,
}

/// Configs that a recipe may choose among.
const CONFIGS: [&str; 2] = ["config.json", "hf_quant_config.json"];

/// What a layer is converted to.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// A quantization scheme.
    Scheme(&'static dyn Scheme),
    /// Plain numbers: quantized layers are decoded, other floats cast.
    Float(FloatType),
    /// What it is.
    Keep,
}

impl Target {
    /// Whether both are the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scheme(own), Self::Scheme(other)) => own.id() == other.id(),
            (Self::Float(own), Self::Float(other)) => own == other,
            (Self::Keep, Self::Keep) => true,
            _ => false,
        }
    }
}

/// A checked request.
pub struct Recipe {
    /// What everything becomes that no rule says otherwise of.
    pub(crate) default: Target,
    /// What a kind becomes that no rule says otherwise of; the others are kept if any is named.
    pub(crate) by_kind: BTreeMap<Kind, Target>,
    /// Rules, the first match wins.
    pub(crate) layers: Vec<(Glob, Target)>,
    /// Modules to keep, whatever the rules say.
    pub(crate) exclude: Vec<Glob>,
    /// Type that packed weights are cast to before their codes are taken; without any scheme, that of every
    /// floating tensor.
    pub(crate) dtype: Option<FloatType>,
    /// Maxima.
    pub(crate) calibration: Calibration,
    /// What is done with all-zero tensors.
    pub(crate) zero_tensors: ZeroTensors,
    /// What the user chose of encodings.
    pub(crate) settings: EncodeSettings,
    /// Which 3-D convolutions are packed.
    pub(crate) conv3d: Conv3d,
    /// What becomes of ties.
    pub(crate) ties: TiePolicy,
    /// Prefix of the sides that stay.
    pub(crate) canonical: Option<String>,
    /// Declared ties: pattern of the alias, pattern of the side that stays.
    pub(crate) declared_ties: Vec<TiePattern>,
    /// Ties declared as a list, which gives no direction.
    pub(crate) listed_ties: Vec<TieMember>,
    /// Whether the aliases of ties are written again.
    pub(crate) expand_ties: bool,
    /// Groups of last path segments that share a global scale; none are the usual ones.
    pub(crate) fuse_groups: Vec<Vec<String>>,
    /// Whether groups are joined into one tensor.
    pub(crate) fuse: bool,
    /// Rules of renaming, in place of the preset of the model type.
    pub(crate) rename: Option<Rules>,
    /// To what quantized weights are padded.
    pub(crate) pad: Option<Padding>,
    /// Whether block scales are written in tiles.
    pub(crate) swizzle: bool,
    /// Largest shard: bytes of its tensors.
    pub(crate) shard_bytes: Option<u64>,
    /// Config files that are written; all that there are without it.
    pub(crate) configs: Option<Vec<String>>,
    /// The request as it was, for the manifest.
    pub(crate) as_json: serde_json::Value,
}

fn refuse<T>(message: String) -> Result<T, ConvertError> {
    Err(ConvertError::Refused(message))
}

fn glob(pattern: &str) -> Result<Glob, ConvertError> {
    Glob::new(pattern).or_else(|e| refuse(format!("the pattern {pattern:?} is no glob: {e}")))
}

/// Ids that can be written from floating-point weights, for messages.
pub(crate) fn writable() -> String {
    let ids: Vec<&str> = schemes().iter().filter(|s| s.about().can_encode).map(|s| s.id()).collect();
    ids.join(", ")
}

/// What an id stands for. Whether a scheme can be written depends on the layer: some are only taken over from
/// another scheme's form.
pub(crate) fn target(id: &str) -> Result<Target, ConvertError> {
    if let Some(dtype) = float(id) {
        return Ok(Target::Float(dtype));
    }
    match by_id(id) {
        _ if matches!(id, "" | "keep") => Ok(Target::Keep),
        Some(scheme) if scheme.family() != Family::Plain => Ok(Target::Scheme(scheme)),
        Some(_) => refuse(format!("{id} is no quantization scheme; choose one of {}, or keep", writable())),
        None => {
            refuse(format!("no scheme is called {id:?}; choose one of {}, bf16, f16, f32, keep", writable()))
        }
    }
}

fn float(id: &str) -> Option<FloatType> {
    match id {
        "bf16" => Some(FloatType::Bf16),
        "f16" => Some(FloatType::F16),
        "f32" => Some(FloatType::F32),
        _ => None,
    }
}

/// The choices that are words.
mod given_choices {
    use super::{Conv3d, ConvertError, Fp8Rounding, Padding, TiePolicy, choice};

    pub(super) fn fp8_rounding(word: &str) -> Result<Fp8Rounding, ConvertError> {
        choice("rounding", word, &[("cpu", Fp8Rounding::Cpu), ("cuda", Fp8Rounding::Cuda)])
    }

    pub(super) fn conv3d(word: &str) -> Result<Conv3d, ConvertError> {
        choice("rule for Conv3d", word, &[("lenient", Conv3d::Lenient), ("strict", Conv3d::Strict)])
    }

    pub(super) fn ties(word: &str) -> Result<TiePolicy, ConvertError> {
        let policies = [
            ("by-name", TiePolicy::ByName),
            ("keep-input-scale", TiePolicy::KeepInputScale),
            ("off", TiePolicy::Off),
        ];
        choice("policy of ties", word, &policies)
    }

    pub(super) fn pad(word: &str) -> Result<Padding, ConvertError> {
        choice(
            "padding",
            word,
            &[("none", Padding::None), ("row", Padding::Row), ("row_col", Padding::RowCol)],
        )
    }
}

/// The choice among `words`.
fn choice<T: Copy>(what: &str, chosen: &str, words: &[(&str, T)]) -> Result<T, ConvertError> {
    let list = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    match words.iter().find(|(word, _)| chosen == *word) {
        Some((_, value)) => Ok(*value),
        None => refuse(format!("{chosen:?} is no {what}; choose one of {}", list())),
    }
}

/// A rule `GLOB=ID`.
fn rule(text: &str) -> Result<(Glob, Target), ConvertError> {
    match text.rsplit_once('=') {
        Some((pattern, id)) if !id.is_empty() => Ok((glob(pattern)?, target(id)?)),
        _ => refuse(format!("{text:?} is no rule; write GLOB=SCHEME or GLOB=keep")),
    }
}

/// A declared tie.
enum Tie {
    /// `ALIAS=CANONICAL`.
    Pair(TiePattern),
    /// An entry of a list.
    Member(TieMember),
}

fn tie(text: &str) -> Result<Tie, ConvertError> {
    let read = match text.split_once('=') {
        Some((alias, canonical)) => TiePattern::new(alias, canonical).map(Tie::Pair),
        None => TieMember::new(text).map(Tie::Member),
    };
    read.or_else(refuse)
}

fn ties(texts: &[String]) -> Result<(Vec<TiePattern>, Vec<TieMember>), ConvertError> {
    let (mut pairs, mut members) = (Vec::new(), Vec::new());
    for text in texts {
        match tie(text)? {
            Tie::Pair(pair) => pairs.push(pair),
            Tie::Member(member) => members.push(member),
        }
    }
    Ok((pairs, members))
}

fn kind(word: &str) -> Result<Kind, ConvertError> {
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.id() == word) else {
        let known: Vec<&str> = Kind::ALL.into_iter().map(Kind::id).collect();
        return refuse(format!("no kind of layer is called {word:?}; choose among {}", known.join(", ")));
    };
    Ok(kind)
}

/// The kinds that a recipe names, and what they become.
fn by_kind(fields: &RecipeFields) -> Result<BTreeMap<Kind, Target>, ConvertError> {
    let mut kinds = BTreeMap::new();
    for (word, id) in &fields.by_kind {
        kinds.insert(kind(word)?, target(id)?);
    }
    if !kinds.is_empty() && !fields.to.is_empty() {
        return refuse(format!("a default for each kind and --to {} contradict each other", fields.to));
    }
    Ok(kinds)
}

/// The configs that are written.
fn configs(fields: &RecipeFields) -> Result<Option<Vec<String>>, ConvertError> {
    let stranger = fields.configs.iter().flatten().find(|name| !CONFIGS.contains(&name.as_str()));
    match stranger {
        Some(name) => {
            refuse(format!("{name:?} is no config that is written; choose among {}", CONFIGS.join(", ")))
        }
        None => Ok(fields.configs.clone()),
    }
}

impl Recipe {
    /// Checks a request. `calibration` is what files have given beside `calibration_json`, which counts where
    /// both speak of a quantizer.
    ///
    /// # Errors
    /// If a scheme, dtype or choice is unknown, a pattern is no glob, or the calibration cannot be read.
    pub fn new(fields: &RecipeFields, mut calibration: Calibration) -> Result<Self, ConvertError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        fn word<'w>(given: &'w Option<String>, default: &'w str) -> &'w str {
            given.as_deref().filter(|word| !word.is_empty()).unwrap_or(default)
        }
        let default = target(&fields.to)?;
        let dtype = match fields.dtype.as_deref().map(|d| (d, float(d))) {
            Some((word, None)) => return refuse(format!("{word:?} is no dtype; choose bf16, f16 or f32")),
            Some((_, known)) => known,
            None => None,
        };
        match (default, dtype) {
            (Target::Float(to), Some(dtype)) if to != dtype => {
                return refuse(format!(
                    "--to {} makes the numbers of that type; leave --dtype out",
                    fields.to
                ));
            }
            _ => {}
        }
        if let Some(json) = &fields.calibration_json {
            calibration.extend(Calibration::from_json(json)?);
        }
        let defaults = EncodeSettings::default();
        let group_size = fields.group_size.unwrap_or(defaults.group_size);
        if group_size == 0 {
            return refuse("--group-size must not be 0".into());
        }
        let (declared_ties, listed_ties) = ties(&fields.declared_ties)?;
        Ok(Self {
            default,
            by_kind: by_kind(fields)?,
            layers: fields.layers.iter().map(|text| rule(text)).collect::<Result<_, _>>()?,
            exclude: fields.exclude.iter().map(|p| glob(p)).collect::<Result<_, _>>()?,
            dtype,
            as_json: fields.as_json(!calibration.is_empty()),
            calibration,
            zero_tensors: fields.zero_tensors,
            settings: EncodeSettings {
                group_size,
                fp8_rounding: given_choices::fp8_rounding(word(&fields.fp8_rounding, "cpu"))?,
            },
            conv3d: given_choices::conv3d(word(&fields.conv3d, "lenient"))?,
            ties: given_choices::ties(word(&fields.ties, "by-name"))?,
            canonical: given(&fields.canonical),
            declared_ties,
            listed_ties,
            expand_ties: fields.expand_ties,
            fuse_groups: fields.fuse_groups.clone(),
            fuse: fields.fuse,
            rename: given(&fields.rename_json).map(|json| Rules::from_json(&json)).transpose()?,
            pad: given(&fields.pad).map(|pad| given_choices::pad(&pad)).transpose()?,
            swizzle: fields.swizzle,
            shard_bytes: given(&fields.shard_size).map(|text| size::parse(&text)).transpose()?,
            configs: configs(fields)?,
        })
    }

    /// Whether a file is written. Only configs can be left out.
    pub(crate) fn writes_config(&self, name: &str) -> bool {
        let wanted = |list: &Vec<String>| !CONFIGS.contains(&name) || list.iter().any(|n| n == name);
        self.configs.as_ref().is_none_or(wanted)
    }

    /// What becomes of layers of a kind that no rule names. Experts are linear layers, unless they are named.
    pub(crate) fn default_of(&self, kind: Kind) -> Target {
        if self.by_kind.is_empty() {
            return self.default;
        }
        let is_expert = matches!(kind, Kind::Expert | Kind::ExpertStack);
        let linear = self.by_kind.get(&Kind::Linear).filter(|_| is_expert);
        self.by_kind.get(&kind).or(linear).copied().unwrap_or(Target::Keep)
    }

    /// Whether anything may be brought into a scheme.
    pub(crate) fn quantizes(&self) -> bool {
        let targets = self.layers.iter().map(|(_, target)| target).chain(self.by_kind.values());
        targets.chain([&self.default]).any(|target| matches!(target, Target::Scheme(_)))
    }

    /// Whether no value changes: tensors are only renamed, cut, joined, left out, or written elsewhere.
    pub(crate) fn leaves_values_alone(&self) -> bool {
        let floats = self.layers.iter().map(|(_, target)| target).chain(self.by_kind.values());
        let any_float = floats.chain([&self.default]).any(|target| matches!(target, Target::Float(_)));
        !self.quantizes() && !any_float && self.dtype.is_none()
    }

    /// The type that every floating tensor is cast to, unless a rule keeps it.
    pub(crate) fn casts_all(&self) -> Option<FloatType> {
        match self.default {
            Target::Float(dtype) => Some(dtype),
            _ => self.dtype.filter(|_| !self.quantizes()),
        }
    }
}
