//! What page and worker say to each other: plain data, next to which files and blobs travel as attachments.
//!
//! Replies are small on purpose. Lists that grow with the checkpoint (layers, plan rows, error rows) are asked
//! for in windows, so that a checkpoint of 100,000 layers costs the main thread no more than one of 30.

mod compare;
mod explore;
mod lab;
mod proof;
mod recipe;
pub(crate) mod remote;

pub(crate) use compare::{CompareDigest, CompareReply, CompareRequest, DifferencePage, DifferenceRow};
pub(crate) use explore::{ExploreReply, ExploreRequest};
pub(crate) use lab::{LabReply, LabRequest, ProposalDigest, SweepDigest};
pub(crate) use proof::{ProofPage, ProofRow};
use quantscope_session::api::{
    AuditChoice, Change, ConvertRequest, EngineChoice, FindingGroup, FindingQuery, LayerDetail, LayerError,
    LayerValues, Overview, PlanLayer, PlanRefusal, Progress, SessionError, TieReport, Unmended,
    VerifySummary,
};
use quantscope_session::render::Form;
pub(crate) use recipe::{RecipeReply, RecipeRequest};
use serde::{Deserialize, Serialize};

/// Kind of the error with which a conversion asks what shall become of one that was broken off in its folder.
pub(crate) const STOPPED: &str = "stopped";

/// Numbers the requests, so that an answer finds its question.
pub(crate) type RequestId = u32;

/// From the page to the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ToWorker {
    /// The page's number for it; jobs are cancelled by it.
    pub(crate) id: RequestId,
    /// What is asked.
    pub(crate) request: Request,
}

/// From the worker to the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    /// The answer to one request.
    Reply {
        /// Number of the request.
        id: RequestId,
        /// The answer, or why there is none.
        result: Box<Result<Reply, SessionError>>,
    },
    /// Something worth knowing that nobody asked for.
    Event(Event),
}

/// What the page can ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Open files. Attached: one `File` for each path.
    Open {
        /// What to call the checkpoint.
        name: String,
        /// Path of each file within the folder.
        paths: Vec<String>,
    },
    /// Open a built-in sample.
    OpenSample {
        /// Its folder under `samples/`.
        folder: String,
        /// What to call it.
        name: String,
    },
    /// Something that shows while the user looks around.
    Explore(ExploreRequest),
    /// About a checkpoint at an address.
    Remote(remote::RemoteRequest),
    /// One layer from headers.
    Layer {
        /// Module path.
        name: String,
    },
    /// One layer from its bytes.
    Values {
        /// Module path.
        name: String,
    },
    /// Findings by rule, as far as a query keeps them.
    Findings(FindingQuery),
    /// Which runtimes the audit is for.
    Audit(AuditChoice),
    /// What a repair would change. Without rules, all that can be mended.
    RepairPlan {
        /// Rules whose findings are to be mended.
        rules: Vec<String>,
    },
    /// Repair. Attached to the reply: one blob for each file, in the order of the result.
    Repair {
        /// Rules whose findings are to be mended.
        rules: Vec<String>,
    },
    /// Something of the lab.
    Lab(LabRequest),
    /// Something of two checkpoints beside each other.
    Compare(CompareRequest),
    /// Tie groups.
    Ties,
    /// The whole report as a file. Attached to the reply: the blob.
    Report(Form),
    /// Read every byte that a rule needs.
    Verify,
    /// Use this file as calibration of the next plans. Attached: the `File`.
    Calibration,
    /// What a conversion would write. The worker puts the calibration in.
    Plan {
        /// The recipe.
        convert: ConvertRequest,
        /// Whether the calibration given before is used.
        calibrated: bool,
    },
    /// A recipe as a file.
    Recipe(RecipeRequest),
    /// A window of the last plan's layers.
    PlanRows {
        /// Packed layers, or those that are kept.
        packed: bool,
        /// First row.
        start: u64,
        /// Rows wanted.
        count: u64,
    },
    /// Convert. Attached: the folder to convert into, if one was picked. Attached to the reply: one blob for each
    /// file, in the order of the result.
    Convert {
        /// The recipe.
        convert: ConvertRequest,
        /// Whether the calibration given before is used.
        calibrated: bool,
        /// Whether to go on with what a dead tab has left in the folder, or to remove it; not said, the user is
        /// asked. Without a folder attached it is the one that was asked about.
        resume: Option<bool>,
    },
    /// Open the files of the last result, which stay where they are until something else is opened.
    OpenResult {
        /// What to call the checkpoint.
        name: String,
    },
    /// A window of the last conversion's error rows.
    ResultRows {
        /// First row.
        start: u64,
        /// Rows wanted.
        count: u64,
    },
    /// A window of the hashes in the last result's manifest.
    ProofRows {
        /// First row.
        start: u64,
        /// Rows wanted.
        count: u64,
    },
    /// How much memory the worker has.
    Memory,
    /// Free the space that the last conversion takes in the browser.
    DropOutput,
    /// Which engine jobs shall use from now on.
    SetEngine(EngineChoice),
    /// Stop a job within a tile.
    Cancel {
        /// Request that began the job.
        job: RequestId,
    },
}

/// What the worker answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// A checkpoint is open.
    Opened(Overview),
    /// To [`Request::Explore`].
    Explore(ExploreReply),
    /// To [`Request::Layer`]; `None` if there is no layer of that name.
    Layer(Option<LayerDetail>),
    /// To [`Request::Values`].
    Values(LayerValues),
    /// To [`Request::Findings`].
    Findings(Vec<FindingGroup>),
    /// To [`Request::Audit`]: the band as it is now.
    Audited(Overview),
    /// To [`Request::RepairPlan`].
    RepairPlanned(RepairDigest),
    /// To [`Request::Repair`].
    Repaired(ResultSummary),
    /// To [`Request::Lab`].
    Lab(LabReply),
    /// To [`Request::Compare`].
    Compare(CompareReply),
    /// To [`Request::Ties`].
    Ties(TieReport),
    /// To [`Request::Report`]: the name for the attached blob.
    Report {
        /// File name.
        file: String,
    },
    /// To [`Request::Verify`].
    Verified {
        /// What was done.
        summary: VerifySummary,
        /// The band as it is now.
        overview: Overview,
    },
    /// To [`remote::RemoteRequest::ScaleBytes`].
    ScaleBytes(u64),
    /// To [`Request::Calibration`].
    Calibrated {
        /// Entries found.
        entries: u64,
    },
    /// To [`Request::Plan`].
    Planned(PlanSummary),
    /// To [`Request::Recipe`].
    Recipe(RecipeReply),
    /// To [`Request::PlanRows`].
    PlanRows(Vec<PlanLayer>),
    /// To [`Request::Convert`].
    Converted(ResultSummary),
    /// To [`Request::ResultRows`].
    ResultRows(Vec<LayerError>),
    /// To [`Request::ProofRows`].
    Proof(ProofPage),
    /// To [`Request::Memory`].
    Memory {
        /// Bytes of its WebAssembly memory.
        bytes: u64,
    },
    /// To requests that only do something.
    Done,
}

/// What the worker tells unasked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The worker listens; requests sent before this would be lost.
    Ready,
    /// The worker holds a lock of this name for as long as it lives.
    Lives {
        /// Name of the lock.
        lock: String,
    },
    /// The worker cannot go on; the words are for the user.
    Failed(String),
    /// The headers of the open checkpoint were judged.
    Judged(Box<Overview>),
    /// Which engine jobs will run on.
    Engine(EngineStatus),
    /// What went over the network for the open checkpoint.
    Traffic(remote::Traffic),
    /// How far a job is; at most 20 a second.
    Progress {
        /// Request that began the job.
        job: RequestId,
        /// How far.
        progress: Progress,
    },
}

/// Which engine jobs will run on, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EngineStatus {
    /// `WebGPU` or `CPU`.
    pub(crate) label: String,
    /// The adapter's name, or why the CPU is used.
    pub(crate) note: String,
    /// Whether a GPU does the work.
    pub(crate) gpu: bool,
}

/// A plan without its rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlanSummary {
    /// Layers that are packed.
    pub(crate) packed_count: u64,
    /// Layers that are kept.
    pub(crate) kept_count: u64,
    /// Weight files with their lengths.
    pub(crate) files: Vec<(String, u64)>,
    /// Other files written.
    pub(crate) other_files: Vec<String>,
    /// Bytes of the source's tensors.
    pub(crate) bytes_before: u64,
    /// Bytes of the output's tensors.
    pub(crate) bytes_after: u64,
    /// Bits per weight before.
    pub(crate) bits_before: f64,
    /// Bits per weight after.
    pub(crate) bits_after: f64,
    /// What to know before going on.
    pub(crate) warnings: Vec<String>,
    /// The first layers that cannot be converted as asked. While there are any, nothing is written.
    pub(crate) refused: Vec<PlanRefusal>,
    /// Layers that cannot be converted as asked.
    pub(crate) refused_count: u64,
    /// Layers whose every value stays the same.
    pub(crate) lossless_count: u64,
    /// Bytes that a folder needs for it.
    pub(crate) bytes_to_write: u64,
    /// Bytes that the browser's own storage needs for it: what passes unchanged stays where it is.
    pub(crate) bytes_here: u64,
    /// Bytes that the browser has left for this page, if it says.
    pub(crate) free_here: Option<u64>,
}

/// What a repair would do, its longest lists cut.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RepairDigest {
    /// Rules that it is of; all that can be mended, if empty.
    pub(crate) rules: Vec<String>,
    /// The first changes.
    pub(crate) changes: Vec<Change>,
    /// Changes there are.
    pub(crate) change_count: u64,
    /// The first findings that stay.
    pub(crate) unmended: Vec<Unmended>,
    /// Findings that stay.
    pub(crate) unmended_count: u64,
    /// Findings that go away.
    pub(crate) mended: u64,
    /// Bytes of the source's tensors.
    pub(crate) bytes_before: u64,
    /// Bytes of the output's tensors.
    pub(crate) bytes_after: u64,
}

/// A conversion without its error rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ResultSummary {
    /// Files with their lengths.
    pub(crate) files: Vec<(String, u64)>,
    /// Layers packed.
    pub(crate) packed: u64,
    /// Tensors copied unchanged.
    pub(crate) copied: u64,
    /// Bytes written.
    pub(crate) bytes_written: u64,
    /// Engine that quantized.
    pub(crate) engine: String,
    /// Whether what was written was read back and equals the plan.
    pub(crate) read_back_equal: bool,
    /// Rows of [`Request::ResultRows`].
    pub(crate) error_rows: u64,
    /// Lowest signal to noise ratio, in dB, and its layer.
    pub(crate) worst: Option<(String, f64)>,
    /// The folder that holds them, if one was picked.
    pub(crate) folder: Option<String>,
    /// The most WebAssembly memory that each worker had, in bytes: the coordinator's first.
    pub(crate) memory: Vec<u64>,
    /// Warnings of the plan and of the run.
    pub(crate) warnings: Vec<String>,
}
