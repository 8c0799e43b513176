//! Looking around: tree or list, what is open in the tree, columns, and the map of sizes.

use super::columns::{Column, Columns};
use super::load::Load;
use super::route::{Route, View};
use super::{Command, Slot, State};
use crate::protocol::{ExploreReply, ExploreRequest, Reply, Request, RequestId};
use quantscope_session::api::{SessionError, SizeView};

/// What the user does while looking around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Explore {
    /// Tree or flat list.
    Flat(bool),
    /// A row of the tree is opened, or closed.
    Toggle(u64),
    /// The keyboard goes into a row: opens it, or moves to the first below it.
    Inward,
    /// The keyboard goes out of a row: closes it, or moves to the one that holds it.
    Outward,
    /// Another module in the map of sizes; the whole checkpoint, if empty.
    Enter(String),
    /// A column more, or less.
    Column(Column),
}

/// The module that a click on the cell `name` goes into from `path`: one level down, past modules that hold all the
/// cells in sight.
pub(crate) fn way_into(path: &str, name: &str, names: &[String]) -> String {
    let mut from = if path.is_empty() { 0 } else { path.len() + 1 };
    loop {
        let rest = name.get(from..).unwrap_or_default();
        let Some(dot) = rest.find('.') else { return name.to_owned() };
        let inner = name.get(..from + dot).unwrap_or_default();
        let holds = |other: &String| {
            other.strip_prefix(inner).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if !names.iter().all(holds) {
            return inner.to_owned();
        }
        from += dot + 1;
    }
}

/// The part of the state that belongs to looking around.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Exploring {
    /// Columns of the list.
    pub(crate) columns: Columns,
    /// Module that [`Self::sizes`] is of.
    pub(crate) sizes_of: String,
    /// Where its bytes are; not asked for of the whole checkpoint, whose overview says it.
    pub(crate) sizes: Load<Option<SizeView>>,
}

impl State {
    pub(super) fn select(&mut self, layer: Option<String>, commands: &mut Vec<Command>) {
        // Opening the panel is a step that "back" undoes; moving from layer to layer is not.
        let replace = self.route.view == View::Layers && self.route.layer.is_some() && layer.is_some();
        self.go(Route { view: View::Layers, layer, ..self.route.clone() }, replace, commands);
    }

    pub(super) fn explore(&mut self, action: Explore, commands: &mut Vec<Command>) {
        match action {
            Explore::Flat(flat) => {
                self.list.cursor = None;
                self.go(Route { flat, ..self.route.clone() }, true, commands);
            }
            Explore::Toggle(index) => self.toggle(index, commands),
            Explore::Inward if self.route.view == View::Layers => match self.row_at_cursor() {
                Some((at, Some(false))) => self.toggle(at, commands),
                Some((_, Some(true))) => self.move_cursor(1, commands),
                _ => {}
            },
            Explore::Outward if self.route.view == View::Layers => match self.row_at_cursor() {
                Some((at, Some(true))) => self.toggle(at, commands),
                Some((at, _)) => {
                    if let Some(holder) = self.list.shown.as_ref().and_then(|rows| rows.holder_of(at)) {
                        self.list.cursor = Some(holder);
                    }
                }
                None => {}
            },
            Explore::Inward | Explore::Outward => {}
            Explore::Enter(at) => {
                self.go(Route { view: View::Overview, at, ..self.route.clone() }, false, commands);
            }
            Explore::Column(column) => {
                self.exploring.columns = self.exploring.columns.toggled(column);
                commands.push(Command::KeepColumns(self.exploring.columns.text()));
            }
        }
    }

    /// Row at the cursor, and whether it is open.
    fn row_at_cursor(&self) -> Option<(u64, Option<bool>)> {
        let at = self.list.cursor?;
        let row = self.list.shown.as_ref()?.row(at)?;
        Some((at, row.open))
    }

    fn toggle(&mut self, index: u64, commands: &mut Vec<Command>) {
        let row = self.list.shown.as_ref().and_then(|rows| rows.row(index));
        let Some(key) = row.filter(|row| row.open.is_some()).map(|row| row.key.clone()) else { return };
        self.list.cursor = Some(index);
        let mut toggled = self.route.toggled.clone();
        match toggled.iter().position(|known| *known == key) {
            Some(at) => drop(toggled.remove(at)),
            None => toggled.push(key),
        }
        self.go(Route { toggled, ..self.route.clone() }, true, commands);
    }

    /// Opens the layer of a row, or the row itself where it is no layer.
    pub(super) fn select_row(&mut self, index: u64, commands: &mut Vec<Command>) {
        self.list.cursor = Some(index);
        let row = self.list.shown.as_ref().and_then(|rows| rows.row(index));
        match row.map(|row| row.layer.clone()) {
            Some(Some(layer)) => self.select(Some(layer), commands),
            Some(None) => self.toggle(index, commands),
            None => {}
        }
    }

    pub(super) fn move_cursor(&mut self, rows: i64, commands: &mut Vec<Command>) {
        let layer = self.list.move_cursor(rows).and_then(|row| row.layer.clone());
        if self.route.layer.is_some() && layer.is_some() {
            self.go(Route { layer, ..self.route.clone() }, true, commands);
        }
    }

    /// Asks where the bytes of the module in sight are.
    pub(super) fn ask_sizes(&mut self, commands: &mut Vec<Command>) {
        if self.exploring.sizes_of != self.route.at {
            self.exploring.sizes_of = self.route.at.clone();
            self.exploring.sizes.outdate();
        }
        if !self.route.at.is_empty() && self.exploring.sizes.is_wanted() {
            let request = ExploreRequest::Size { path: self.route.at.clone() };
            let id = self.send(Slot::Sizes, Request::Explore(request), commands);
            self.exploring.sizes.ask(id);
        }
    }

    /// Takes the answers that belong here; gives back what does not.
    pub(super) fn settle_exploring(
        &mut self,
        id: RequestId,
        slot: Slot,
        result: Result<Reply, SessionError>,
    ) -> Option<(Slot, Result<Reply, SessionError>)> {
        match (slot, result) {
            (Slot::Tree { generation, page }, Ok(Reply::Explore(ExploreReply::Tree(answer)))) => {
                self.list.settle(generation, page, Ok(answer));
                if self.list.cursor.is_none()
                    && let (Some(rows), Some(name)) = (&self.list.shown, &self.route.layer)
                {
                    self.list.cursor = rows.position(name);
                }
            }
            (Slot::Tree { generation, page }, Err(error)) => self.list.settle(generation, page, Err(error)),
            (Slot::Sizes, Ok(Reply::Explore(ExploreReply::Size(sizes)))) => {
                self.exploring.sizes.settle(id, Ok(sizes));
            }
            (Slot::Sizes, Err(error)) => self.exploring.sizes.settle(id, Err(error)),
            (slot, result) => return self.settle_looking(id, slot, result),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::way_into;

    #[test]
    fn a_click_goes_one_level_down_past_what_holds_everything() {
        let names = ["m.layers.0.up", "m.layers.0.down", "m.layers.1.up", "m.head"].map(String::from);
        assert_eq!(way_into("", "m.layers.0.up", &names), "m.layers");
        assert_eq!(way_into("", "m.head", &names), "m.head");
        assert_eq!(way_into("m.layers", "m.layers.0.up", &names[..3]), "m.layers.0");
        assert_eq!(way_into("m.layers.0", "m.layers.0.up", &names[..2]), "m.layers.0.up");
        assert_eq!(way_into("", "", &names), "");
    }
}
