//! One row of the layers: elements that stay in the document, and say now one layer and now another.
//!
//! Making elements and taking them away costs the browser more than all else in a frame of scrolling; a row writes
//! only what it does not say already.

use super::layer_name::TAIL;
use super::marks::{severity_class, severity_words};
use crate::services::nodes::{Attribute, Words, add};
use crate::state::columns::Column;
use crate::state::list::RowAt;
use crate::state::text;
use quantscope_session::api::{SchemeBytes, Severity, TreeRow};
use wasm_bindgen::JsCast;
use web_sys::{CssStyleDeclaration, Element, Event, HtmlElement};
use yew::TargetCast;

/// Deepest indent that the style sheet knows.
const DEEPEST: u32 = 12;
/// Rows before the first in what a row is called: the heads are the first, and counting begins at one.
const BEFORE: u64 = 2;

/// What a row has to say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Face {
    /// The layer or module, once that is here.
    pub(super) row: Option<RowAt>,
    /// Whether its layer is in the panel.
    pub(super) selected: bool,
    /// Whether the keyboard is on it.
    pub(super) at_cursor: bool,
    /// Whether Tab comes to it.
    pub(super) in_tab_order: bool,
}

/// A row in the document.
#[derive(Debug)]
pub(super) struct Row {
    /// The row.
    pub(super) element: HtmlElement,
    /// Which row of the list it is.
    pub(super) index: Option<u64>,
    style: CssStyleDeclaration,
    face: Option<Face>,
    attributes: Attributes,
    name: Name,
    cells: Vec<Cell>,
}

#[derive(Debug)]
struct Attributes {
    class: Attribute,
    row_index: Attribute,
    selected: Attribute,
    level: Attribute,
    expanded: Attribute,
    tab_index: Attribute,
    name: Attribute,
    key: Attribute,
}

/// The first cell: the mark that opens the row, the name, and how many blocks are folded into it.
#[derive(Debug)]
struct Name {
    /// There is none in a flat list.
    caret: Option<(Attribute, Words)>,
    title: Attribute,
    head: Words,
    tail: Words,
    folded: Option<(Attribute, Words)>,
}

#[derive(Debug)]
struct Cell {
    column: Column,
    element: Element,
    says: Says,
}

/// What a cell says. Marks are made anew where they change: rows beside each other mostly have the same.
#[derive(Debug)]
enum Says {
    Words { title: Attribute, class: Attribute, words: Words },
    Schemes(Vec<SchemeBytes>),
    Findings(Option<Severity>, u64),
}

/// Where an event of the list happened: the row, and whether it was on the mark that opens it.
pub(super) fn row_of(event: &Event) -> Option<(u64, bool)> {
    let target = event.target_dyn_into::<Element>()?;
    let row = target.closest("[aria-rowindex]").ok().flatten()?;
    let on_caret = matches!(target.closest(".caret.opens"), Ok(Some(_)));
    Some((row.get_attribute("aria-rowindex")?.parse::<u64>().ok()?.checked_sub(BEFORE)?, on_caret))
}

const fn word(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}

impl Row {
    /// A row with these columns at the end of `within`.
    pub(super) fn new(within: &Element, columns: impl Iterator<Item = Column>, flat: bool) -> Self {
        let element = add(within, "div", "row").unchecked_into::<HtmlElement>();
        Attribute::fix(&element, "role", "row");
        Attribute::fix(&element, "data-testid", "layer-row");
        let of = |name| Attribute::new(&element, name);
        let attributes = Attributes {
            class: of("class"),
            row_index: of("aria-rowindex"),
            selected: of("aria-selected"),
            level: of("aria-level"),
            expanded: of("aria-expanded"),
            tab_index: of("tabindex"),
            name: of("data-name"),
            key: of("data-key"),
        };
        let name = Name::new(&element, flat);
        let cells = columns.map(|column| Cell::new(&element, column)).collect();
        Self { style: element.style(), element, index: None, face: None, attributes, name, cells }
    }

    /// Says what a row of the list says, at its place. Rows are `row_px` high.
    pub(super) fn show(&mut self, index: u64, face: Face, row_px: u64) {
        if self.index != Some(index) {
            self.index = Some(index);
            let top = index.saturating_mul(row_px);
            // A property of ours with a number of ours: there is nothing to refuse.
            let _ = self.style.set_property("transform", &format!("translateY({top}px)"));
            self.attributes.row_index.set(Some(&index.saturating_add(BEFORE).to_string()));
        } else if self.face.as_ref() == Some(&face) {
            return;
        }
        let row = face.row.as_ref().and_then(RowAt::get);
        let Attributes { class, selected, level, expanded, tab_index, name, key, .. } = &mut self.attributes;
        let mut classes = match row {
            Some(row) => format!("row depth-{}", row.depth.min(DEEPEST)),
            None => "row row-waits".into(),
        };
        for (is, word) in [(face.selected, " selected"), (face.at_cursor, " cursor")] {
            classes.push_str(if is { word } else { "" });
        }
        class.set(Some(&classes));
        selected.set(Some(word(face.selected)));
        tab_index.set(Some(if face.in_tab_order { "0" } else { "-1" }));
        let in_tree = row.filter(|_| self.name.caret.is_some());
        level.set(in_tree.map(|row| row.depth.saturating_add(1).to_string()).as_deref());
        expanded.set(row.and_then(|row| row.open).map(word));
        name.set(row.and_then(|row| row.layer.as_deref()));
        key.set(row.map(|row| row.key.as_str()));
        self.name.show(row);
        for cell in &mut self.cells {
            cell.show(row);
        }
        self.face = Some(face);
    }
}

impl Name {
    fn new(row: &Element, flat: bool) -> Self {
        let cell = add(row, "span", "c-name");
        Attribute::fix(&cell, "role", "gridcell");
        let part = |within: &Element, tag: &str, class: &str, name| {
            let element = add(within, tag, class);
            (Attribute::new(&element, name), Words::new(&element), element)
        };
        let caret = if flat {
            None
        } else {
            let (class, words, element) = part(&cell, "i", "caret", "class");
            Attribute::fix(&element, "aria-hidden", "true");
            Some((class, words))
        };
        let name = add(&cell, "span", "layer-name");
        let head = Words::new(&add(&name, "span", "layer-name-head"));
        let tail = Words::new(&add(&name, "span", "layer-name-tail"));
        let folded = if flat {
            None
        } else {
            let (hidden, words, element) = part(&cell, "span", "folded", "hidden");
            Attribute::fix(&element, "title", "blocks that look alike");
            Some((hidden, words))
        };
        Self { caret, title: Attribute::new(&name, "title"), head, tail, folded }
    }

    fn show(&mut self, row: Option<&TreeRow>) {
        let open = row.and_then(|row| row.open);
        if let Some((class, words)) = &mut self.caret {
            class.set(Some(if open.is_some() { "caret opens" } else { "caret" }));
            words.say(open.map_or("", |open| if open { "▾" } else { "▸" }));
        }
        let (head, tail) = row.map_or(("", "…"), |row| text::split_for_cut(&row.label, TAIL));
        self.head.say(head);
        self.tail.say(tail);
        self.title.set(row.map(|row| row.layer.as_ref().unwrap_or(&row.key).as_str()));
        if let Some((hidden, words)) = &mut self.folded {
            let folded = row.map(|row| row.folded).filter(|&folded| folded > 1);
            hidden.set(if folded.is_some() { None } else { Some("") });
            words.say(&folded.map(|folded| format!("× {}", text::count(folded))).unwrap_or_default());
        }
    }
}

impl Cell {
    fn new(row: &Element, column: Column) -> Self {
        let element = add(row, "span", column.class());
        Attribute::fix(&element, "role", "gridcell");
        let says = match column {
            Column::Scheme => Says::Schemes(Vec::new()),
            Column::Findings => Says::Findings(None, 0),
            _ => Says::Words {
                title: Attribute::new(&element, "title"),
                class: Attribute::new(&element, "class"),
                words: Words::new(&element),
            },
        };
        Self { column, element, says }
    }

    fn show(&mut self, row: Option<&TreeRow>) {
        match &mut self.says {
            Says::Words { title, class, words } => {
                let (long, short) = row.map_or((None, String::new()), |row| in_words(self.column, row));
                title.set(long.as_deref());
                words.say(&short);
                // Of a module there stands how many layers it has.
                let counts = self.column == Column::Shape && row.is_some_and(|row| row.layer.is_none());
                class.set(Some(if counts { "c-shape counts" } else { self.column.class() }));
            }
            Says::Schemes(known) => {
                let schemes = row.map(|row| row.schemes.as_slice()).unwrap_or_default();
                let same = |(known, new): (&SchemeBytes, &SchemeBytes)| known.scheme == new.scheme;
                if known.len() != schemes.len() || !known.iter().zip(schemes).all(same) {
                    known.clear();
                    known.extend_from_slice(schemes);
                    self.element.set_text_content(None);
                    add_schemes(&self.element, schemes);
                }
            }
            Says::Findings(worst, findings) => {
                let new = row.map_or((None, 0), |row| (row.worst, row.findings));
                if (*worst, *findings) != new {
                    (*worst, *findings) = new;
                    self.element.set_text_content(None);
                    add_findings(&self.element, new);
                }
            }
        }
    }
}

/// What stands in a cell, and before it the same at length, for the tooltip.
fn in_words(column: Column, row: &TreeRow) -> (Option<String>, String) {
    match column {
        Column::Kind if row.layer.is_some() => (None, row.kind.clone()),
        Column::Shape if row.layer.is_some() => (None, text::shape(&row.shape)),
        Column::Shape => (None, text::counted(row.layers, "layer")),
        Column::Weights => (Some(text::count(row.parameters)), text::short_count(row.parameters)),
        Column::Bits => (Some(row.bits_per_weight.to_string()), text::bits(row.bits_per_weight)),
        Column::Size => (Some(text::exact_size(row.bytes)), text::size(row.bytes)),
        Column::Kind | Column::Scheme | Column::Findings => (None, String::new()),
    }
}

fn add_words(to: &Element, class: &str, words: &str) -> Element {
    let element = add(to, "span", class);
    element.set_text_content(Some(words));
    element
}

/// The largest scheme in words, the others as colours beside it.
fn add_schemes(to: &Element, schemes: &[SchemeBytes]) {
    let swatch = |to: &Element, of: &SchemeBytes| {
        Attribute::fix(&add(to, "i", &format!("swatch family-{}", of.family)), "aria-hidden", "true");
    };
    let Some((first, others)) = schemes.split_first() else { return };
    let tag = add(to, "span", "tag");
    swatch(&tag, first);
    Words::new(&tag).say(&first.scheme);
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(|other| other.scheme.as_str()).collect();
        let names = format!("and {}", names.join(", "));
        let also = add(to, "span", "also");
        Attribute::fix(&also, "title", &names);
        for other in others {
            swatch(&also, other);
        }
        add_words(&also, "read-out", &format!(" {names}"));
    }
}

/// The gravest finding as a mark, and how many there are.
fn add_findings(to: &Element, (worst, findings): (Option<Severity>, u64)) {
    let Some(severity) = worst else { return };
    let (icon, word) = severity_words(severity);
    let mark = add(to, "span", &format!("severity {}", severity_class(severity)));
    Attribute::fix(&mark, "title", word);
    Attribute::fix(&add_words(&mark, "", icon), "aria-hidden", "true");
    add_words(&mark, "read-out", word);
    if findings > 1 {
        add_words(to, "faint", &text::count(findings));
    }
}
