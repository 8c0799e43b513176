//! Lists of ties, which give no direction: which weight stays for each that a list names.
//!
//! Source: `formats.md` h, "List-style declarations give no direction". What the user calls canonical stays; else what
//! the config knows to be shared; else the one weight outside of the list that holds the same values. Where that leaves
//! more than one answer, none is guessed.

use crate::dedup::{canonical_names, under_prefix};
use crate::recipe::Recipe;
use crate::refused::Refused;
use crate::sides::{SideKind, Sides};
use crate::tie_pattern::TieMember;
use quantscope_audit::ties::DeclaredTie;
use quantscope_format::Gather as _;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is known of values: nothing before bytes are read, then a hash of every weight that matters.
pub(crate) type Hashes = HashMap<usize, u64>;

/// What the entries of a list stand for.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// Modules that go, in the file or not, and those that stay for them.
    pub(crate) pairs: BTreeMap<String, String>,
    /// Modules for which nothing says what stays.
    pub(crate) refused: Vec<Refused>,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
    /// Modules whose values decide.
    pub(crate) open: BTreeSet<usize>,
}

/// What stays for a module of a list.
enum Stays {
    /// Another module, by its name.
    Other(String),
    /// It does.
    Itself,
    /// Only values can tell, which nobody has read.
    Open,
    /// Nothing says.
    Unknown(Refused),
}

/// Whether a module stands at or under a path.
fn is_under(path: Option<&str>, module: &str) -> bool {
    path.and_then(|path| module.strip_prefix(path))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Last segments that two paths have in common.
fn common_end(one: &str, other: &str) -> usize {
    one.rsplit('.').zip(other.rsplit('.')).take_while(|(a, b)| a == b).count()
}

/// The one whose path ends most like that of a module.
fn most_alike<'a>(module: &str, among: &[&'a str]) -> Option<&'a str> {
    let best = among.iter().map(|other| common_end(module, other)).max()?;
    match among.iter().filter(|other| common_end(module, other) == best).collect::<Vec<_>>().as_slice() {
        [one] => Some(**one),
        _ => None,
    }
}

/// A list, seen over the modules of a file.
struct Lister<'a> {
    sides: &'a Sides<'a>,
    recipe: &'a Recipe,
    /// Aliases that the config knows, and what stays for them.
    known: BTreeMap<&'a str, &'a str>,
    /// Modules that may stay for one of the list, by the kind of their weight.
    staying: HashMap<SideKind<'a>, Vec<&'a str>>,
    hashes: Option<&'a Hashes>,
}

impl<'a> Lister<'a> {
    fn members(&self) -> &'a [TieMember] {
        &self.recipe.listed_ties
    }

    fn canonical(&self) -> Option<&'a str> {
        self.recipe.canonical.as_deref()
    }

    /// Whether another tie says that a module goes.
    fn goes_otherwise(&self, module: &str) -> bool {
        let prefixed = self.canonical().and_then(|prefix| under_prefix(prefix, module));
        let declared = self.recipe.declared_ties.iter().find_map(|tie| tie.canonical_of(module));
        let known = self.known.get(module).map(ToString::to_string);
        [prefixed, declared, known].into_iter().flatten().any(|canonical| self.sides.has(&canonical))
    }

    /// Names that the other entries give for what one of them leaves open.
    fn partners(&self, module: &str) -> BTreeSet<String> {
        partners(self.members(), module)
    }

    fn kind_of(&self, module: &str) -> Option<SideKind<'a>> {
        Some(self.sides.kind_of(*self.sides.modules.get(module)?)?.0)
    }

    fn hash(&self, module: &str) -> Option<u64> {
        self.hashes?.get(self.sides.modules.get(module)?).copied()
    }

    /// Modules outside of the list whose weight is of the same kind, and of the same values where those are known.
    fn alike(&self, module: &str) -> Vec<&'a str> {
        let staying =
            self.kind_of(module).and_then(|kind| self.staying.get(&kind)).into_iter().flatten().copied();
        let mut alike: Vec<&str> = staying.filter(|other| *other != module).collect();
        if self.hashes.is_some() {
            let own = self.hash(module);
            alike.retain(|other| own.is_some() && self.hash(other) == own);
        }
        if alike.iter().any(|other| is_under(self.canonical(), other)) {
            alike.retain(|other| is_under(self.canonical(), other));
        }
        alike
    }

    fn stays(&self, module: &str) -> Stays {
        if is_under(self.canonical(), module) {
            return Stays::Itself;
        }
        let partners = self.partners(module);
        let there: Vec<&String> = partners.iter().filter(|partner| self.sides.has(partner)).collect();
        let chosen =
            there.iter().find(|partner| is_under(self.canonical(), partner)).map(ToString::to_string);
        let prefixed = self.canonical().and_then(|prefix| under_prefix(prefix, module));
        let known = self.known.get(module).map(ToString::to_string);
        let said = [chosen, prefixed, known].into_iter().flatten().find(|name| self.sides.has(name));
        if let Some(name) = said {
            return Stays::Other(name);
        }
        let alike = self.alike(module);
        if self.hashes.is_none() && !alike.is_empty() {
            return most_alike(module, &alike).map_or(Stays::Open, |name| Stays::Other(name.into()));
        }
        match alike.as_slice() {
            [] => self.without_outsider(module, &partners, &there),
            several => match most_alike(module, several) {
                Some(name) => Stays::Other(name.into()),
                None => {
                    let names: Vec<String> = several.iter().take(3).map(|name| format!("`{name}`")).collect();
                    Stays::Unknown(Refused {
                        name: module.into(),
                        reason: format!(
                            "is in the list of ties, and {} weights outside of it have its values: {}",
                            several.len(),
                            names.join(", ")
                        ),
                        remedy: format!("say which one stays: declared = {{ {module:?} = \"…\" }}"),
                    })
                }
            },
        }
    }

    /// What stays where no weight outside of the list is the same.
    fn without_outsider(&self, module: &str, partners: &BTreeSet<String>, there: &[&String]) -> Stays {
        let (own, kind) = (self.hash(module), self.kind_of(module));
        let others = || self.members().iter().filter(|member| !member.matches(module));
        let named = || others().filter_map(TieMember::name);
        let is_mate = |name: &String| {
            self.sides.has(name) && self.kind_of(name) == kind && (own.is_none() || self.hash(name) == own)
        };
        let mate = there.first().map(ToString::to_string).or_else(|| named().find(is_mate));
        if let Some(mate) = mate {
            return Stays::Unknown(Refused {
                name: module.into(),
                reason: format!("is in the list of ties as `{mate}` is, and a list gives no direction"),
                remedy: "give canonical, the path of the side that stays (--canonical), or declare { alias = canonical }"
                    .into(),
            });
        }
        let is_only_one =
            !partners.is_empty() || named().any(|name| !self.sides.modules.contains_key(name.as_str()));
        if is_only_one && named().all(|name| !self.sides.has(&name)) {
            return Stays::Itself;
        }
        Stays::Unknown(Refused {
            name: module.into(),
            reason: "is in the list of ties, but no weight outside of the list has its values".into(),
            remedy:
                "give canonical, the path of the side that stays (--canonical), or leave it out of the list"
                    .into(),
        })
    }
}

/// Names that the other entries of a list give for what one of them leaves open.
pub(crate) fn partners(members: &[TieMember], module: &str) -> BTreeSet<String> {
    let pairs = members.iter().enumerate().flat_map(|(i, own)| {
        members.iter().enumerate().filter(move |(k, _)| *k != i).map(move |(_, other)| (own, other))
    });
    pairs.filter_map(|(own, other)| own.partner(other, module)).gather_set()
}

impl Listed {
    /// What the list of a recipe stands for. Without hashes, what only values can tell is taken from the names; the
    /// modules in question are `open`.
    pub(crate) fn new(
        sides: &Sides<'_>,
        recipe: &Recipe,
        known: &[DeclaredTie],
        hashes: Option<&Hashes>,
    ) -> Self {
        let mut listed = Self::default();
        if recipe.listed_ties.is_empty() {
            return listed;
        }
        let known = known.iter().map(|tie| (tie.alias.as_str(), tie.canonical.as_str())).gather_map();
        let mut lister = Lister { sides, recipe, known, staying: HashMap::new(), hashes };
        let is_listed = |name: &str| recipe.listed_ties.iter().any(|member| member.matches(name));
        // In the order of the file.
        let modules: Vec<&str> = sides.views.modules.iter().map(|m| m.name.as_str()).collect();
        let modules: Vec<&str> = modules.into_iter().filter(|name| sides.has(name)).collect();
        for &name in &modules {
            let may_stay = is_under(recipe.canonical.as_deref(), name) || !is_listed(name);
            if let Some(kind) = lister.kind_of(name).filter(|_| may_stay && !lister.goes_otherwise(name)) {
                lister.staying.entry(kind).or_default().push(name);
            }
        }
        for &module in modules.iter().filter(|name| is_listed(name)) {
            listed.add(&lister, module);
        }
        listed.add_absent(&lister);
        listed.follow();
        listed
    }

    fn add(&mut self, lister: &Lister<'_>, module: &str) {
        let canonical = match lister.stays(module) {
            Stays::Other(name) => {
                self.pairs.insert(module.into(), name.clone());
                if lister.alike(module).contains(&name.as_str()) {
                    self.open_all(lister, module);
                }
                name
            }
            Stays::Itself => module.into(),
            Stays::Open => {
                self.open_all(lister, module);
                self.notes.push(format!(
                    "{module} is in the list of ties: whose values it has is found when the conversion runs"
                ));
                return;
            }
            Stays::Unknown(refused) => {
                self.open_all(lister, module);
                self.refused.push(refused);
                return;
            }
        };
        let absent = lister.partners(module).into_iter().filter(|name| !lister.sides.has(name));
        self.pairs.extend(absent.map(|name| (name, canonical.clone())));
    }

    /// Values decide of a module, all that it might share them with, and all that are named beside it.
    fn open_all(&mut self, lister: &Lister<'_>, module: &str) {
        let named = lister.members().iter().filter_map(TieMember::name);
        let names = lister.alike(module).into_iter().map(str::to_string).chain(named).chain([module.into()]);
        self.open.extend(names.filter_map(|name| lister.sides.modules.get(name.as_str()).copied()));
    }

    /// Full names that the file has not, and entries that say nothing of it.
    fn add_absent(&mut self, lister: &Lister<'_>) {
        let members = lister.members();
        let there: BTreeSet<String> =
            members.iter().filter_map(TieMember::name).filter(|name| lister.sides.has(name)).gather_set();
        for member in members {
            let stands = |name: &str| member.matches(name);
            if lister.sides.modules.keys().any(|name| stands(name))
                || self.pairs.keys().any(|name| stands(name))
            {
                continue;
            }
            let name = member.name().unwrap_or_else(|| member.text.clone());
            if lister.known.contains_key(name.as_str()) {
                continue;
            }
            let prefixed = lister.canonical().and_then(|prefix| under_prefix(prefix, &name));
            let under: Vec<&String> = there.iter().filter(|n| is_under(lister.canonical(), n)).collect();
            let only = match (under.as_slice(), there.iter().collect::<Vec<_>>().as_slice()) {
                ([one], _) | ([], [one]) => Some((*one).clone()),
                _ => None,
            };
            let canonical =
                prefixed.filter(|p| lister.sides.has(p)).or(only.filter(|_| member.name().is_some()));
            match canonical {
                Some(canonical) => {
                    self.pairs.insert(name, canonical);
                }
                None if canonical_names(lister.recipe, &name).is_empty() => self.notes.push(format!(
                    "{} is in the list of ties, but the checkpoint has no weight of that name, and nothing says which stays for it",
                    member.text
                )),
                None => {}
            }
        }
    }

    /// What stays for what stays for a module stays for it.
    fn follow(&mut self) {
        for alias in self.pairs.keys().cloned().collect::<Vec<_>>() {
            let mut seen = BTreeSet::from([alias.clone()]);
            let mut last = alias.clone();
            while let Some(next) = self.pairs.get(&last).filter(|next| !seen.contains(*next)) {
                last.clone_from(next);
                seen.insert(last.clone());
            }
            if last != alias {
                self.pairs.insert(alias, last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{common_end, is_under, most_alike};

    #[test]
    fn paths_and_their_ends() {
        assert!(is_under(Some("a.b"), "a.b") && is_under(Some("a.b"), "a.b.c"));
        assert!(!is_under(Some("a.b"), "a.bc") && !is_under(None, "a"));
        assert_eq!(common_end("encoder.layers.0.q", "decoder.layers.0.q"), 3);
        assert_eq!(most_alike("e.l.0.q", &["d.l.1.q", "d.l.0.q"]), Some("d.l.0.q"));
        assert_eq!(most_alike("e.q", &["c.q", "d.q"]), None);
    }
}
