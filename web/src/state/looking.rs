//! A closer look at one layer: the part of the heat map that is in sight, and the block beside it.

use super::area::Area;
use super::load::Load;
use super::{Command, Slot, State};
use crate::protocol::{ExploreReply, ExploreRequest, Reply, Request, RequestId};
use quantscope_session::api::{Block, HeatQuery, HeatTile, SessionError};

/// Cells of the picture, down and across.
const CELLS: (u64, u64) = (96, 128);

/// What the user does in the panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Block scales, or weights.
    Scales(bool),
    /// Another part of the picture.
    Area(Area),
    /// The block that holds this row and column.
    Block {
        /// Row.
        row: u64,
        /// Column.
        col: u64,
    },
}

/// The part of the panel that the user moves about.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Looking {
    /// Block scales, or weights.
    pub(crate) scales: bool,
    /// The part in sight.
    pub(crate) area: Area,
    /// The picture of it, or of the part before until it is there.
    pub(crate) heat: Load<Option<HeatTile>>,
    /// What [`Self::heat`] was asked for.
    heat_of: Option<(bool, Area)>,
    /// Row and column whose block is shown; the first block's, if none.
    pub(crate) block_at: Option<(u64, u64)>,
    /// The block.
    pub(crate) block: Load<Option<Block>>,
}

impl Looking {
    /// Asks again for what failed.
    pub(super) fn retry(&mut self) {
        self.heat_of = None;
        self.heat.outdate();
        self.block.outdate();
    }
}

impl State {
    pub(super) fn look(&mut self, action: Look) {
        let looking = &mut self.panel.looking;
        match action {
            Look::Scales(scales) => {
                if looking.scales != scales {
                    (looking.scales, looking.area) = (scales, Area::default());
                }
            }
            Look::Area(area) => looking.area = area,
            Look::Block { row, col } => {
                looking.block_at = Some((row, col));
                looking.block.outdate();
            }
        }
    }

    /// Asks for picture and block once the values are there. While a picture is on its way no other is asked for:
    /// the last part that the user came to is asked for when it is there.
    pub(super) fn ask_looking(&mut self, commands: &mut Vec<Command>) {
        let decodes = self.panel.values.value.as_ref().is_some_and(|values| values.values_read > 0);
        if !decodes {
            return;
        }
        let name = self.panel.name.clone();
        let looking = &self.panel.looking;
        let wanted = (looking.scales, looking.area);
        if looking.heat.asked().is_none() && looking.heat_of != Some(wanted) {
            let Area { row, col, rows, cols } = looking.area;
            let query = HeatQuery {
                name: name.clone(),
                scales: looking.scales,
                row,
                col,
                rows,
                cols,
                down: CELLS.0,
                across: CELLS.1,
            };
            let id = self.send(Slot::Heat, Request::Explore(ExploreRequest::Heat(query)), commands);
            self.panel.looking.heat.outdate();
            self.panel.looking.heat.ask(id);
            self.panel.looking.heat_of = Some(wanted);
        }
        if let Some((row, col)) = self.panel.looking.block_at.filter(|_| self.panel.looking.block.is_wanted())
        {
            let request = ExploreRequest::Block { name, row, col };
            let id = self.send(Slot::Block, Request::Explore(request), commands);
            self.panel.looking.block.ask(id);
        }
    }

    /// Takes the answers that belong here; gives back what does not.
    pub(super) fn settle_looking(
        &mut self,
        id: RequestId,
        slot: Slot,
        result: Result<Reply, SessionError>,
    ) -> Option<(Slot, Result<Reply, SessionError>)> {
        let looking = &mut self.panel.looking;
        match (slot, result) {
            (Slot::Heat, Ok(Reply::Explore(ExploreReply::Heat(tile)))) => looking.heat.settle(id, Ok(tile)),
            (Slot::Heat, Err(error)) => looking.heat.settle(id, Err(error)),
            (Slot::Block, Ok(Reply::Explore(ExploreReply::Block(block)))) => {
                looking.block.settle(id, Ok(block));
            }
            (Slot::Block, Err(error)) => looking.block.settle(id, Err(error)),
            other => return Some(other),
        }
        None
    }
}
