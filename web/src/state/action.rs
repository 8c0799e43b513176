//! What can happen to the page, and what it makes the services do.

use super::Theme;
use super::compare::Compare;
use super::converting::Converting;
use super::exploring::Explore;
use super::form::Form;
use super::home::{Chore, Home};
use super::lab::Lab;
use super::looking::Look;
use super::mending::Mend;
use super::remote::Visit;
use super::route::{Filter, Route, View};
use crate::protocol::{Event, Reply, Request, RequestId};
use quantscope_session::api::{EngineChoice, SessionError};

/// What the user or the worker did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Files were picked or dropped; the service holds them beside.
    OpenFiles {
        /// Name of the checkpoint.
        name: String,
        /// Paths, in the order of the files held.
        paths: Vec<String>,
    },
    /// A sample was chosen.
    OpenSample {
        /// Folder under `samples/`.
        folder: &'static str,
        /// What to call it.
        name: &'static str,
    },
    /// Files could not be taken.
    PickFailed(String),
    /// Back to arrival.
    Close,
    /// Another view.
    Go(View),
    /// The address changed under us: back, forward, or typed.
    Navigated(Box<Route>),
    /// The layer in the panel.
    Select(Option<String>),
    /// A row was clicked.
    SelectRow(u64),
    /// Another filter.
    SetFilter(Filter),
    /// Something while looking around.
    Explore(Explore),
    /// Something in the panel of a layer.
    Look(Look),
    /// The layers a rule touches.
    ShowRule(String),
    /// Rows in sight.
    ListWindow {
        /// First row.
        first: u64,
        /// How many.
        count: u64,
    },
    /// The keyboard moved.
    Move(i64),
    /// The keyboard came to a row by itself.
    CursorAt(u64),
    /// The keyboard opened.
    Enter,
    /// The keyboard closed.
    Escape,
    /// The search field is wanted.
    Search,
    /// The list of keys is wanted, or not.
    Keys(bool),
    /// Try again what failed.
    Retry,
    /// Verify bytes.
    Verify,
    /// Stop the job.
    CancelJob,
    /// Another engine.
    SetEngine(EngineChoice),
    /// Another theme.
    SetTheme(Theme),
    /// The system's theme changed.
    SystemDark(bool),
    /// The message was read.
    Dismiss,
    /// Another form.
    SetForm(Box<Form>),
    /// More rows of the plan.
    MorePlanRows {
        /// Packed layers, or kept ones.
        packed: bool,
    },
    /// More rows of the result.
    MoreResultRows,
    /// Something else in the Convert view.
    Converting(Converting),
    /// Save one file of the result.
    Save(String),
    /// Save all files of the result.
    SaveAll,
    /// Saving did not work.
    SaveFailed(String),
    /// Free the space of the result.
    DropOutput,
    /// Save the report in a form.
    SaveReport(quantscope_session::render::Form),
    /// Something in the Preview view.
    Lab(Lab),
    /// Something in the Compare view.
    Compare(Compare),
    /// Something in the Findings view.
    Mend(Mend),
    /// Something of the page itself.
    Home(Home),
    /// Something about an address.
    Visit(Visit),
    /// The worker answered.
    Answer {
        /// Request.
        id: RequestId,
        /// Answer.
        result: Box<Result<Reply, SessionError>>,
    },
    /// The worker told.
    Told(Event),
    /// The worker is gone.
    WorkerFailed(String),
}

/// What the services shall do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Ask the worker.
    Send {
        /// Number of the request.
        id: RequestId,
        /// The request. Files held go with `Open` and `Calibration`, a folder held with `Convert`.
        request: Box<Request>,
    },
    /// Write the address.
    SetAddress {
        /// Fragment.
        fragment: String,
        /// Whether the present entry of the history is replaced.
        replace: bool,
    },
    /// Apply and remember the theme.
    SetTheme(Theme),
    /// Remember the columns.
    KeepColumns(String),
    /// Something of the page itself.
    Home(Chore),
    /// Save a file of the result.
    Save(String),
    /// Let the user pick a folder to convert into.
    PickFolder,
    /// Save all files of the result.
    SaveAll,
    /// Forget the blobs of the result.
    ForgetOutput,
    /// End the worker, and start another.
    StartWorker,
    /// Put the keyboard into the search field.
    FocusSearch,
}
