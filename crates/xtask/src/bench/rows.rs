//! The comparisons: who against whom, on what, and the ratio that is aimed at.

use super::contestant::{Contestant, Program};
use super::inputs::Inputs;
use super::peers::Peers;

/// Columns of the generated matrices.
const COLS: &str = "14336";
const ROWS: &str = "4096";
/// Rows for what takes long in WebAssembly.
const FEW_ROWS: &str = "512";

/// Rows that measure the command-line tool.
pub(crate) const OF_THE_TOOL: [&str; 3] = ["shards", "convert", "audit"];

/// Rows that measure the page.
pub(crate) const OF_THE_PAGE: [&str; 1] = ["chromium"];

/// Rows that measure wasm.
pub(crate) const IN_WASM: [&str; 5] =
    ["wasm-header-first", "wasm-header", "wasm-header-decoding", "huggingface-js", "wasm-nvfp4"];

/// Rows for what takes tenths of a second a row.
const VERY_FEW_ROWS: &str = "32";

/// One comparison.
pub(crate) struct Row {
    /// What `--only` takes.
    pub(crate) name: &'static str,
    /// What we do, in words.
    pub(crate) what: &'static str,
    /// What the peer does.
    pub(crate) against: &'static str,
    /// How many times as fast as the peer we want to be; `None` where nothing is promised.
    pub(crate) target: Option<f64>,
    pub(crate) ours: Contestant,
    pub(crate) peer: Contestant,
    /// Whether both must give the same result.
    pub(crate) same_result: bool,
    pub(crate) clock: Clock,
}

/// Which time of a turn counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// From its beginning to its end.
    Wall,
    /// What the processor spent on it: of contestants with one thread, so that nobody counts the time of other
    /// programs on the machine.
    Processor,
}

impl Clock {
    /// In a word, for the record.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Processor => "processor",
        }
    }
}

/// A whole run of a program, after which the folder `output` is there.
fn whole(steps: Vec<Program>, output: Option<std::path::PathBuf>) -> Contestant {
    Contestant::Whole { steps, output }
}

/// All rows that can be measured with what is there.
pub(crate) fn all(inputs: &Inputs, peers: &Peers) -> Vec<Row> {
    let mut rows = headers(inputs, peers);
    rows.extend(kernels(inputs));
    if peers.has_modelopt {
        rows.extend(packing_in_python(inputs, peers));
    }
    rows.extend(in_wasm(inputs, peers));
    rows.extend(whole_runs(inputs));
    rows.push(in_chromium(inputs, peers));
    rows
}

fn native(inputs: &Inputs, arguments: &[&str]) -> Contestant {
    Contestant::Turns(Program::new(&inputs.program, arguments.iter().copied()))
}

fn one_thread(inputs: &Inputs, arguments: &[&str]) -> Contestant {
    Contestant::Turns(Program::new(&inputs.program, ["threads", "1"].iter().chain(arguments).copied()))
}

fn headers(inputs: &Inputs, peers: &Peers) -> Vec<Row> {
    let file = inputs.file("header-100000.safetensors");
    let shards = inputs.file("shards");
    let ours = || native(inputs, &["header", &file]);
    vec![
        Row {
            name: "header",
            what: "opening a file of 100,000 tensors, every entry judged",
            against: "`safe_open` of Python safetensors",
            target: Some(10.0),
            ours: ours(),
            peer: peers.python(&["safe-open", &file]),
            same_result: true,
            clock: Clock::Processor,
        },
        Row {
            name: "header-crate",
            what: "the same",
            against: "the `safetensors` crate",
            target: None,
            ours: ours(),
            peer: native(inputs, &["header-crate", &file]),
            same_result: true,
            clock: Clock::Processor,
        },
        Row {
            name: "shards",
            what: "`quantscope inspect` of 163 shards with 91,991 tensors, layers and report included",
            against: "`safe_open` of each shard, nothing else",
            target: None,
            ours: whole(vec![Program::new(&inputs.tool, ["inspect", &shards, "--json"])], None),
            peer: peers.python(&["safe-open-folder", &shards]),
            same_result: false,
            clock: Clock::Wall,
        },
    ]
}

fn kernels(inputs: &Inputs) -> Vec<Row> {
    let [gaussian, heavy, ragged] = ["gaussian.bin", "heavy.bin", "ragged.bin"].map(|name| inputs.file(name));
    let against_copy = |name, what, file: &str, arguments: &[&str], target| Row {
        name,
        what,
        against: "`memcpy` of the same bytes",
        target,
        ours: one_thread(inputs, arguments),
        peer: native(inputs, &["copy", file]),
        same_result: false,
        clock: Clock::Processor,
    };
    vec![
        against_copy(
            "nvfp4-thread",
            "BF16 to NVFP4, 4096 × 14336, one thread, maximum included",
            &gaussian,
            &["nvfp4", &gaussian, ROWS, COLS],
            Some(0.5),
        ),
        against_copy(
            "nvfp4-codes",
            "the same with the maximum known, as within a conversion",
            &gaussian,
            &["nvfp4-codes", &gaussian, ROWS, COLS],
            None,
        ),
        against_copy(
            "nvfp4-heavy",
            "BF16 to NVFP4 of heavy-tailed weights, one thread, maximum included",
            &heavy,
            &["nvfp4", &heavy, ROWS, COLS],
            None,
        ),
        against_copy(
            "nvfp4-ragged",
            "BF16 to NVFP4, 4099 × 14323, one thread, maximum included",
            &ragged,
            &["nvfp4", &ragged, "4099", "14323"],
            None,
        ),
        against_copy(
            "fp8-block-thread",
            "BF16 to FP8 in tiles of 128 × 128, one thread, maxima included",
            &gaussian,
            &["fp8-block", &gaussian, ROWS, COLS],
            Some(0.5),
        ),
        Row {
            name: "nvfp4-mse",
            what: "NVFP4 with the best of 126 scales for each block, all cores",
            against: "the same as the specification reads, one thread",
            target: Some(20.0),
            ours: native(inputs, &["nvfp4-mse", &gaussian, VERY_FEW_ROWS, COLS]),
            peer: native(inputs, &["nvfp4-mse-plain", &gaussian, VERY_FEW_ROWS, COLS]),
            same_result: true,
            clock: Clock::Wall,
        },
        Row {
            name: "tie-hash",
            what: "the hash that finds identical tensors, one thread, of pieces just read",
            against: "reading the same bytes from the system's cache",
            target: Some(1.0),
            ours: native(inputs, &["tie-hash", &gaussian]),
            peer: native(inputs, &["read", &gaussian]),
            same_result: false,
            clock: Clock::Processor,
        },
    ]
}

fn packing_in_python(inputs: &Inputs, peers: &Peers) -> Vec<Row> {
    let gaussian = inputs.file("gaussian.bin");
    let row = |name, against, target, peer: &str| Row {
        name,
        what: "BF16 to NVFP4, 4096 × 14336, all cores, maximum included",
        against,
        target,
        ours: native(inputs, &["nvfp4", &gaussian, ROWS, COLS]),
        peer: peers.python(&[peer, &gaussian, ROWS, COLS]),
        same_result: true,
        clock: Clock::Wall,
    };
    vec![
        row("modelopt", "ModelOpt's `NVFP4QTensor.quantize` on the same cores", Some(60.0), "modelopt"),
        row("torch", "the formulas in plain torch operators on the same cores", None, "torch"),
    ]
}

fn in_wasm(inputs: &Inputs, peers: &Peers) -> Vec<Row> {
    let file = inputs.file("header-100000.safetensors");
    let gaussian = inputs.file("gaussian.bin");
    let wasm = inputs.wasm.display().to_string();
    let hub = peers.hub().display().to_string();
    let node = |arguments: &[&str]| Contestant::Turns(peers.node(arguments));
    let cold = |arguments: &[&str]| Contestant::Fresh(peers.node(&[&["--cold"], arguments].concat()));
    let narrow =
        Program::new(&inputs.narrow_program, ["threads", "1", "nvfp4-codes", &gaussian, FEW_ROWS, COLS]);
    vec![
        Row {
            name: "wasm-header-first",
            what: "a header of 100,000 tensors in wasm, first call, copied and judged",
            against: "`JSON.parse` of its text, first call",
            target: Some(1.0),
            ours: cold(&["wasm-header", &file, &wasm]),
            peer: cold(&["json-parse", &file]),
            same_result: true,
            clock: Clock::Wall,
        },
        Row {
            name: "wasm-header",
            what: "the same, later calls",
            against: "`JSON.parse` of its text",
            target: Some(3.0),
            ours: node(&["wasm-header", &file, &wasm]),
            peer: node(&["json-parse", &file]),
            same_result: true,
            clock: Clock::Wall,
        },
        Row {
            name: "wasm-header-decoding",
            what: "the same, later calls",
            against: "`TextDecoder` and `JSON.parse` of the same bytes",
            target: None,
            ours: node(&["wasm-header", &file, &wasm]),
            peer: node(&["decode-and-parse", &file]),
            same_result: true,
            clock: Clock::Wall,
        },
        Row {
            name: "huggingface-js",
            what: "the same, later calls",
            against: "`parseSafetensorsMetadata` of huggingface.js over memory",
            target: None,
            ours: node(&["wasm-header", &file, &wasm]),
            peer: node(&["huggingface-js", &file, &hub]),
            same_result: true,
            clock: Clock::Wall,
        },
        Row {
            name: "wasm-nvfp4",
            what: "BF16 to NVFP4 in wasm with SIMD128, one thread, maximum known",
            against: "the native build held to vectors of 128 bits",
            target: Some(0.7),
            ours: node(&["wasm-nvfp4", &gaussian, FEW_ROWS, COLS, &wasm]),
            peer: Contestant::Turns(narrow),
            same_result: true,
            clock: Clock::Processor,
        },
    ]
}

fn whole_runs(inputs: &Inputs) -> Vec<Row> {
    let [model, packed, out, copies] =
        ["model", "packed", "out", "copies"].map(|name| inputs.folder.join(name));
    let [model_text, packed_text, copies_text] =
        [&model, &packed, &copies].map(|path| path.display().to_string());
    let convert = |scheme| whole(vec![inputs.convert(&model, &out, scheme)], Some(out.clone()));
    let copy = || {
        let steps = vec![
            Program::new("mkdir", [&copies_text]),
            Program::new("cp", ["-r", &model_text, &packed_text, &copies_text]),
        ];
        whole(steps, Some(copies.clone()))
    };
    // What a conversion does as well before it ends: nothing of the copies is only in memory.
    let copy_and_sync = || {
        let read_write = |from: &str, to: &str| {
            let arguments =
                [format!("if={from}"), format!("of={copies_text}/{to}"), "bs=8M".into(), "conv=fsync".into()];
            Program::new("dd", arguments)
        };
        let file = |folder: &std::path::Path| folder.join("model.safetensors").display().to_string();
        let steps = vec![
            Program::new("mkdir", [&copies_text]),
            read_write(&file(&model), "input"),
            read_write(&file(&packed), "output"),
        ];
        whole(steps, Some(copies.clone()))
    };
    let row = |name, what, against, target, peer| Row {
        name,
        what,
        against,
        target,
        ours: convert("nvfp4"),
        peer,
        same_result: false,
        clock: Clock::Wall,
    };
    vec![
        row(
            "convert",
            "`quantscope convert --to nvfp4` from start to end: hashes, errors, written, synced, read back",
            "`cp` of input and output",
            Some(0.35),
            copy(),
        ),
        row("convert-synced", "the same", "`dd` of input and output, synced as well", None, copy_and_sync()),
        Row {
            name: "audit",
            what: "`quantscope audit` of every byte of the NVFP4 export, hashes for ties included",
            against: "reading its file from the system's cache",
            target: Some(0.25),
            ours: whole(
                vec![Program::new(
                    &inputs.tool,
                    ["audit", &packed_text, "--engine", "cpu", "--fail-on", "never"],
                )],
                None,
            ),
            peer: native(inputs, &["read", &packed.join("model.safetensors").display().to_string()]),
            same_result: false,
            clock: Clock::Wall,
        },
    ]
}

fn in_chromium(inputs: &Inputs, peers: &Peers) -> Row {
    let model = inputs.folder.join("model");
    let tab = |what: &str, input: &std::path::Path| Contestant::Turns(peers.tab(what, &inputs.page, input));
    Row {
        name: "chromium",
        what: "NVFP4 in the page, in Chromium: hashes, errors, written into the private file system, read back",
        against: "reading the input in a tab with `Blob.slice`, nothing else",
        target: Some(0.6),
        ours: tab("convert", &model),
        peer: tab("read", &model.join("model.safetensors")),
        same_result: false,
        clock: Clock::Wall,
    }
}
