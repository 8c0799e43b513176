//! The module tree: one node for each dotted prefix of a layer's name, and which subtrees look alike.
//!
//! Built once for a checkpoint. Two subtrees look alike if they have the same names below them and every layer in
//! one has the scheme, kind, shape and bytes of its counterpart; each such form has a number.

use quantscope_audit::LayerInfo;
use quantscope_format::{Arrange as _, HashMap, HashMapExt as _};
use quantscope_schemes::Kind;
use std::hash::Hash;

/// Deepest level; what a hostile name has below it stays one segment.
const DEEPEST: usize = 64;
/// Stands in a form for a node that is no layer.
const NO_LAYER: u32 = u32::MAX;

/// The node that all others hang from.
pub(crate) const ROOT: u32 = 0;

/// One module or layer.
pub(crate) struct Node {
    /// Node above; the root is its own.
    pub(crate) parent: u32,
    /// Nodes below, in natural order.
    pub(crate) children: Vec<u32>,
    /// Index of the layer of exactly this name.
    pub(crate) layer: Option<u32>,
    /// Number of the form that it shares with nodes that look alike.
    pub(crate) form: u32,
    /// Whether its own segment is a number.
    pub(crate) is_numbered: bool,
    /// Index of a layer whose name begins with the path of the node.
    sample: u32,
    /// Where its own segment begins in that name, and where its path ends.
    begin: usize,
    end: usize,
}

impl Node {
    fn new(parent: u32, sample: u32, begin: usize, end: usize, segment: &str) -> Self {
        let is_numbered = super::fold::number(segment).is_some();
        Self { parent, children: Vec::new(), layer: None, form: 0, is_numbered, sample, begin, end }
    }
}

/// The tree, in an arena: a node comes before what is below it.
pub(crate) struct Forest {
    pub(crate) nodes: Vec<Node>,
}

/// Numbers things in the order in which they are first seen.
struct Interner<K>(HashMap<K, u32>);

impl<K: Eq + Hash> Interner<K> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    fn number(&mut self, key: K) -> u32 {
        let next = index_u32(self.0.len());
        *self.0.entry(key).or_insert(next)
    }
}

pub(crate) fn index_u32(i: usize) -> u32 {
    u32::try_from(i).unwrap_or(u32::MAX)
}

pub(crate) fn place(i: u32) -> usize {
    usize::try_from(i).unwrap_or(usize::MAX)
}

/// Where the segments of a name begin and end, from a segment on that begins at `from` and has `level` before it.
fn segments_from(name: &str, from: usize, level: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut next = Some((from, level));
    std::iter::from_fn(move || {
        let (begin, level) = next?;
        let dot = name.bytes().skip(begin).position(|byte| byte == b'.').map(|at| begin + at);
        let dot = dot.filter(|_| level + 1 < DEEPEST);
        next = dot.map(|dot| (dot + 1, level + 1));
        Some((begin, dot.unwrap_or(name.len())))
    })
}

/// Where the segments of a name begin and end.
fn segments(name: &str) -> impl Iterator<Item = (usize, usize)> {
    segments_from(name, 0, 0)
}

/// Bytes at the start that two names have in common.
fn common(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}

impl Forest {
    /// The tree of these layers, which are in natural order.
    pub(crate) fn new(layers: &[LayerInfo]) -> Self {
        let mut nodes = vec![Node::new(ROOT, 0, 0, 0, "")];
        let mut known: HashMap<(u32, &str), u32> = HashMap::with_capacity(layers.len().saturating_mul(2));
        // The way to the layer before, by nodes and where their paths end: most of it is the way to the next one.
        let mut way: Vec<(u32, usize)> = Vec::new();
        let mut before = "";
        for (index, layer) in (0_u32..).zip(layers) {
            let name = layer.name.as_str();
            let same = common(before, name);
            let ends_at = |end: usize| end == name.len() || name.as_bytes().get(end) == Some(&b'.');
            // Past the deepest level a dot ends no segment.
            let shared =
                way.iter().take(DEEPEST - 1).take_while(|(_, end)| *end <= same && ends_at(*end)).count();
            way.truncate(shared);
            let (mut at, end) = way.last().map_or((ROOT, None), |&(node, end)| (node, Some(end)));
            if end != Some(name.len()) {
                for (begin, end) in segments_from(name, end.map_or(0, |end| end + 1), shared) {
                    let segment = name.get(begin..end).unwrap_or_default();
                    let parent = at;
                    at = *known.entry((parent, segment)).or_insert_with(|| {
                        nodes.push(Node::new(parent, index, begin, end, segment));
                        index_u32(nodes.len() - 1)
                    });
                    way.push((at, end));
                }
            }
            before = name;
            if let Some(node) = nodes.get_mut(place(at)) {
                node.layer = Some(index);
            }
        }
        for index in 1..nodes.len() {
            let parent = nodes.get(index).map_or(ROOT, |node| node.parent);
            if let Some(above) = nodes.get_mut(place(parent)) {
                above.children.push(index_u32(index));
            }
        }
        let mut forest = Self { nodes };
        forest.number_forms(layers);
        forest
    }

    /// Gives every node the number of its form, from the leaves up.
    fn number_forms(&mut self, layers: &[LayerInfo]) {
        let mut words: Interner<&str> = Interner::new();
        let mut faces: Interner<(&str, Kind, &[u64], u64)> = Interner::new();
        let mut forms: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut form: Vec<u32> = Vec::new();
        for index in (0..self.nodes.len()).rev() {
            let Some(node) = self.nodes.get(index) else { continue };
            let layer = node.layer.and_then(|layer| layers.get(place(layer)));
            let face = layer.map_or(NO_LAYER, |l| faces.number((l.scheme.id(), l.kind, &l.shape, l.bytes)));
            form.clear();
            form.push(face);
            for &child in &node.children {
                let below = self.nodes.get(place(child)).map_or(0, |child| child.form);
                form.extend([words.number(self.segment(layers, child)), below]);
            }
            // Few forms are new: a list of its own is made for those alone.
            let number = forms.get(form.as_slice()).copied().unwrap_or_else(|| {
                let next = index_u32(forms.len());
                forms.insert(form.clone(), next);
                next
            });
            if let Some(node) = self.nodes.get_mut(index) {
                node.form = number;
            }
        }
    }

    pub(crate) fn node(&self, index: u32) -> Option<&Node> {
        self.nodes.get(place(index))
    }

    /// The nodes below a node.
    pub(crate) fn children(&self, index: u32) -> &[u32] {
        self.node(index).map(|node| node.children.as_slice()).unwrap_or_default()
    }

    /// The last segment of a node's path.
    pub(crate) fn segment<'a>(&self, layers: &'a [LayerInfo], index: u32) -> &'a str {
        self.part(layers, index, |node| node.begin)
    }

    /// The path of a node.
    pub(crate) fn path<'a>(&self, layers: &'a [LayerInfo], index: u32) -> &'a str {
        self.part(layers, index, |_| 0)
    }

    fn part<'a>(&self, layers: &'a [LayerInfo], index: u32, begin: impl Fn(&Node) -> usize) -> &'a str {
        let part = |node: &Node| layers.get(place(node.sample))?.name.get(begin(node)..node.end);
        self.node(index).and_then(part).unwrap_or_default()
    }

    /// The node of a path; `None` where there is none, and for the empty path the root.
    pub(crate) fn find(&self, layers: &[LayerInfo], path: &str) -> Option<u32> {
        if path.is_empty() {
            return Some(ROOT);
        }
        let mut at = ROOT;
        for (begin, end) in segments(path) {
            let wanted = path.get(begin..end)?;
            at = self.children(at).iter().copied().find(|&child| self.segment(layers, child) == wanted)?;
        }
        Some(at)
    }

    /// Layers at and below some nodes.
    pub(crate) fn layers_below(&self, of: &[u32]) -> Vec<u32> {
        let mut found = Vec::new();
        let mut open: Vec<u32> = of.to_vec();
        while let Some(node) = open.pop().and_then(|index| self.node(index)) {
            found.extend(node.layer);
            open.extend(&node.children);
        }
        found.arrange();
        found
    }
}
