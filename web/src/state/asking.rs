//! What is asked of the worker: whatever the present view shows and is neither here nor under way.

use super::convert::{Growing, PlanShown, ROWS};
use super::route::View;
use super::{Command, Panel, Slot, State};
use crate::protocol::{ExploreRequest, Request};

impl State {
    /// Asks for everything that the present view shows and that is neither here nor under way.
    pub(super) fn ask_missing(&mut self, commands: &mut Vec<Command>) {
        if self.overview().is_none() {
            return;
        }
        match self.route.view {
            View::Overview => self.ask_sizes(commands),
            View::Layers => {
                self.list.set_query(&self.route);
                for page in self.list.wanted() {
                    let id = self.next_id();
                    let generation = self.list.ask(page, id);
                    let request = Request::Explore(ExploreRequest::Tree(self.list.query(page)));
                    self.waiting.insert(id, Slot::Tree { generation, page });
                    commands.push(Command::Send { id, request: Box::new(request) });
                }
                self.ask_panel(commands);
            }
            View::Findings => {
                self.ask_mending(commands);
            }
            View::Preview => self.ask_lab(commands),
            View::Compare => self.ask_compare(commands),
            View::Ties => {
                if self.ties.is_wanted() {
                    let id = self.send(Slot::Ties, Request::Ties, commands);
                    self.ties.ask(id);
                }
            }
            View::Convert => {
                let reading =
                    self.convert.form.calibration.as_ref().is_some_and(|given| given.entries.is_none());
                if self.convert.plan.is_wanted() && !reading {
                    let (convert, calibrated) = self.convert.form.request();
                    let id = self.send(Slot::Plan, Request::Plan { convert, calibrated }, commands);
                    self.convert.plan.ask(id);
                }
            }
        }
    }

    fn ask_panel(&mut self, commands: &mut Vec<Command>) {
        let Some(name) = self.route.layer.clone() else { return };
        if self.panel.name != name {
            // Values of a layer that is no longer looked at are not worth reading on.
            for job in [self.panel.values.asked(), self.panel.looking.heat.asked()].into_iter().flatten() {
                self.send(Slot::Quiet, Request::Cancel { job }, commands);
            }
            self.panel = Panel { name: name.clone(), ..Panel::default() };
        }
        if self.panel.detail.is_wanted() {
            let id = self.send(Slot::Detail, Request::Layer { name: name.clone() }, commands);
            self.panel.detail.ask(id);
        }
        if self.panel.values.is_wanted() && self.remote.may_read(&name) {
            let id = self.send(Slot::Values, Request::Values { name }, commands);
            self.panel.values.ask(id);
        }
        self.ask_looking(commands);
    }

    pub(super) fn ask_plan_rows(&mut self, packed: bool, commands: &mut Vec<Command>) {
        let Some(shown) = &mut self.convert.shown else { return };
        let rows = if packed { &mut shown.packed } else { &mut shown.kept };
        if rows.asked || rows.len() >= rows.total {
            return;
        }
        rows.asked = true;
        let start = rows.len();
        self.send(Slot::PlanRows { packed }, Request::PlanRows { packed, start, count: ROWS }, commands);
    }

    pub(super) fn ask_result_rows(&mut self, commands: &mut Vec<Command>) {
        let Some(result) = &mut self.convert.result else { return };
        if result.rows.asked || result.rows.len() >= result.rows.total {
            return;
        }
        result.rows.asked = true;
        let start = result.rows.len();
        self.send(Slot::ResultRows, Request::ResultRows { start, count: ROWS }, commands);
    }

    /// Shows a plan that has just come, and asks for its first rows.
    pub(super) fn show_plan(&mut self, commands: &mut Vec<Command>) {
        self.convert.shown = None;
        if let Some(summary) = self.convert.plan.value.clone() {
            self.convert.shown = Some(PlanShown {
                packed: Growing::new(summary.packed_count),
                kept: Growing::new(summary.kept_count),
                summary,
            });
            self.ask_plan_rows(true, commands);
            self.ask_plan_rows(false, commands);
        }
    }
}
