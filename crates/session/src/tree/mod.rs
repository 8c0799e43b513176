//! The layers as a tree of modules, identical blocks folded to one row, or as a flat list; in windows.

mod fold;
mod forest;
mod names;
mod rows;
mod sums;
mod visible;

pub(crate) use forest::{Forest, place};

use crate::api::{LayerQuery, Severity};
use serde::{Deserialize, Serialize};
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

/// What of the tree is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeQuery {
    /// Which layers, in which order, and the window of rows.
    pub filter: LayerQuery,
    /// Layers alone, without the modules around them.
    pub flat: bool,
    /// Keys of rows that are not as they are by default: opened, or closed.
    pub toggled: Vec<String>,
}

/// A window of the tree.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TreePage {
    /// Rows there are.
    pub total: u64,
    /// Layers that match the query.
    pub matching: u64,
    /// Layers there are without a query.
    pub all: u64,
    /// Index of the first row given.
    pub start: u64,
    /// The rows.
    pub rows: Vec<TreeRow>,
    /// Kinds present in the checkpoint.
    pub kinds: Vec<String>,
    /// Schemes present in the checkpoint.
    pub schemes: Vec<String>,
}

/// One row: a layer, a module, or several siblings that look alike. Sums are over the layers that match.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TreeRow {
    /// What [`TreeQuery::toggled`] calls it: the path, with `+` behind it for folded siblings.
    pub key: String,
    /// The path as far as rows above do not say it, such as `layers.3–60`.
    pub label: String,
    /// Rows above it that it belongs to.
    pub depth: u32,
    /// Whether it is open; `None` where nothing is below it.
    pub open: Option<bool>,
    /// Name of the layer, where the row is one.
    pub layer: Option<String>,
    /// Siblings in it; 1 where nothing is folded.
    pub folded: u64,
    /// Layers in it.
    pub layers: u64,
    /// Kind, where the row is a layer.
    pub kind: String,
    /// Logical shape, where the row is a layer.
    pub shape: Vec<u64>,
    /// Schemes with their stored bytes, the largest first.
    pub schemes: Vec<SchemeBytes>,
    /// Bits per weight.
    pub bits_per_weight: f64,
    /// Stored bytes.
    pub bytes: u64,
    /// Logical weights.
    pub parameters: u64,
    /// Worst finding, if any.
    pub worst: Option<Severity>,
    /// Findings, each counted once for every layer it touches.
    pub findings: u64,
}

/// What one scheme takes of a row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemeBytes {
    /// Scheme id.
    pub scheme: String,
    /// Family, for colour.
    pub family: String,
    /// Stored bytes.
    pub bytes: u64,
}

/// What is kept between questions: the tree for as long as the checkpoint is open, the rows in sight of the last
/// question until another is asked.
#[derive(Clone, Default)]
pub(crate) struct Explorer {
    of_model: Rc<OfModel>,
    sums_of_all: RefCell<Option<Rc<Vec<sums::Sums>>>>,
    last: RefCell<Option<(TreeQuery, Rc<visible::Visible>)>>,
}

/// What is made of the layers when it is first asked for; clones of a session have the same layers.
#[derive(Default)]
struct OfModel {
    forest: OnceCell<Rc<Forest>>,
    names: OnceCell<names::Names>,
    of_one_scheme: OnceCell<Vec<Option<u32>>>,
    /// Kinds and schemes to choose from.
    choices: OnceCell<(Vec<String>, Vec<String>)>,
}

impl Explorer {
    /// Findings have changed: sums of findings are asked anew.
    pub(crate) fn forget_rows(&self) {
        *self.sums_of_all.borrow_mut() = None;
        *self.last.borrow_mut() = None;
    }
}

impl crate::Session {
    /// The module tree, made when it is first asked for.
    pub(crate) fn forest(&self) -> Rc<Forest> {
        let forest = || Rc::new(Forest::new(&self.model.layers));
        Rc::clone(self.explorer.of_model.forest.get_or_init(forest))
    }

    /// Indices of the layers whose names hold a text in lower case.
    pub(crate) fn layers_called(&self, part: &str) -> Vec<usize> {
        self.searched_names().holding(part)
    }

    fn searched_names(&self) -> &names::Names {
        self.explorer.of_model.names.get_or_init(|| names::Names::new(&self.model.layers))
    }

    /// Of each node one of the layers at and below it, where all of those have one scheme.
    fn of_one_scheme(&self) -> &[Option<u32>] {
        let made = || rows::of_one_scheme(&self.model.layers, &self.forest());
        self.explorer.of_model.of_one_scheme.get_or_init(made)
    }

    /// Makes what the first search would have to make, while nobody waits for it.
    pub fn prepare_search(&self) {
        self.searched_names();
        self.sums_of_all();
    }

    /// The sums of each node where every layer matches, by index.
    fn sums_of_all(&self) -> Rc<Vec<sums::Sums>> {
        let made = || Rc::new(sums::of_all(self, &self.forest()));
        Rc::clone(self.explorer.sums_of_all.borrow_mut().get_or_insert_with(made))
    }

    /// Kinds and schemes that are there, for choices.
    pub(crate) fn choices(&self) -> (Vec<String>, Vec<String>) {
        self.explorer.of_model.choices.get_or_init(|| crate::layers::kinds_and_schemes(self)).clone()
    }

    /// A window of the tree, or of the flat list.
    #[must_use]
    pub fn tree(&self, query: &TreeQuery) -> TreePage {
        let window = LayerQuery { start: 0, count: 0, ..query.filter.clone() };
        let key = TreeQuery { filter: window, ..query.clone() };
        let kept =
            self.explorer.last.borrow().as_ref().filter(|(of, _)| *of == key).map(|(_, v)| Rc::clone(v));
        let visible = kept.unwrap_or_else(|| {
            let visible = Rc::new(visible::Visible::new(self, &key));
            *self.explorer.last.borrow_mut() = Some((key, Rc::clone(&visible)));
            visible
        });
        rows::page(self, &visible, query)
    }
}
