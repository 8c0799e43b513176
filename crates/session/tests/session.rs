//! What the boundary answers, on golden checkpoints and on synthetic large ones.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_session::api::{LayerQuery, Severity, TreePage, TreeQuery, TreeRow};
use quantscope_session::render::{Form, render};
use quantscope_session::{CpuEngine, Engines, InputFile, Limits, MemorySource, Session, Uncontrolled};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;

fn file(path: &str, bytes: Vec<u8>) -> InputFile {
    InputFile { path: path.into(), source: Rc::new(MemorySource::new(path, bytes)) }
}

/// A folder of the golden data, its paths prefixed as a dropped folder gives them.
fn folder(path: &str) -> Vec<InputFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(path);
    let entries = std::fs::read_dir(root).unwrap().flatten();
    entries
        .map(|e| {
            file(&format!("dropped/{}", e.file_name().to_string_lossy()), std::fs::read(e.path()).unwrap())
        })
        .collect()
}

fn open(files: Vec<InputFile>) -> Session {
    futures_executor::block_on(Session::open("test", files, Limits::default(), &Uncontrolled)).unwrap()
}

fn listed(session: &Session, filter: LayerQuery) -> TreePage {
    session.tree(&TreeQuery { filter, flat: true, toggled: Vec::new() })
}

fn query(text: &str) -> LayerQuery {
    LayerQuery { text: text.into(), count: 500, ..LayerQuery::default() }
}

/// A header of `count` BF16 layers over a file that is all zeros.
fn many_layers(count: u64) -> InputFile {
    let mut header = String::from("{");
    for i in 0..count {
        let comma = if i == 0 { "" } else { "," };
        let (from, to) = (i * 8, i * 8 + 8);
        write!(
            header,
            "{comma}\"model.layers.{i}.mlp.up_proj.weight\":{{\"dtype\":\"BF16\",\"shape\":[2,2],\"data_offsets\":[{from},{to}]}}"
        )
        .unwrap();
    }
    header.push('}');
    let mut bytes = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(header.into_bytes());
    bytes.resize(bytes.len() + usize::try_from(count * 8).unwrap(), 0);
    file("model.safetensors", bytes)
}

/// Two tensors may have one name below their module; the report has both, and no key twice.
#[test]
fn no_tensor_hides_another_in_the_report() {
    for others in [0, 30] {
        let stack = "m.experts.gate_up_proj";
        let names = [stack.to_owned(), format!("{stack}.weight")];
        let others = (0..others).map(|i| format!("{stack}.x{i}"));
        let names: Vec<String> = names.into_iter().chain(others).collect();
        let entries = (0..).zip(&names).map(|(i, name)| {
            format!(r#""{name}":{{"dtype":"U8","shape":[1,1,1],"data_offsets":[{i},{}]}}"#, i + 1)
        });
        let json = format!("{{{}}}", entries.collect::<Vec<_>>().join(","));
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.into_bytes());
        bytes.resize(bytes.len() + names.len(), 0);
        let session = open(vec![file("model.safetensors", bytes)]);
        let report = session.report().unwrap();
        let [layer] = report.layers.as_slice() else { unreachable!("{:?}", report.layers) };
        assert_eq!(layer.name, stack);
        let keys: BTreeSet<&str> = layer.tensors.0.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys.len(), names.len());
        assert!(keys.contains("weight") && keys.contains(names[1].as_str()), "{keys:?}");
    }
}

/// Judging in steps finds what judging at once finds, and waits between the families of rules.
#[test]
fn judging_may_pause() {
    let files = || {
        // A declared scheme that no layer has, an exclude pattern for nothing, and more layers than there are.
        let config = r#"{"num_hidden_layers": 7, "quantization_config":
            {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["nothing.of.the.kind"]}}"#;
        vec![many_layers(3), file("config.json", config.into())]
    };
    let at_once = open(files());
    let rules: Vec<String> = at_once.findings().into_iter().map(|group| group.rule).collect();
    assert!(["CF302", "CF303", "CF308"].iter().all(|rule| rules.iter().any(|r| r == rule)), "{rules:?}");

    let reading = Session::read("test", files(), Limits::default(), &Uncontrolled);
    let mut session = futures_executor::block_on(reading).unwrap();
    assert!(!session.is_judged() && session.findings().is_empty());
    assert_eq!(session.overview().verdict.state, "reading");
    let pauses = Cell::new(0);
    futures_executor::block_on(session.judge_in_steps(async || pauses.set(pauses.get() + 1)));
    assert!(session.is_judged() && pauses.get() > 10, "{} pauses", pauses.get());
    assert_eq!(session.findings(), at_once.findings());
    assert_eq!(session.overview(), at_once.overview());
}

#[test]
fn the_small_vae_is_described() {
    let session = open(folder("golden/e2e_wan_vae_nvfp4_conv3d/expected"));
    let overview = session.overview();
    assert_eq!(overview.verdict.state, "sound", "{:?}", overview.verdict);
    assert_eq!(overview.declared, "NVFP4 (modelopt)");
    let report = session.report().unwrap();
    assert_eq!(report.summary.by_scheme["nvfp4"], 43);
    // The class fixes the kernel, so the logical shape is known again: 3 channels in and out.
    let layer = session.layer("decoder.conv_out").unwrap();
    assert_eq!((layer.row.kind.as_str(), layer.row.shape.as_slice()), ("conv3d", &[3, 3, 3, 3, 3][..]));
    assert!(layer.stored_as.contains("15 of it padding"), "{}", layer.stored_as);
    assert!((layer.row.bits_per_weight - 96.0 * 4.5 / 81.0).abs() < 1e-9);
}

#[test]
fn queries_narrow_and_windows_cut() {
    let session = open(folder("golden/e2e_llama_nvfp4/expected"));
    let all = listed(&session, query(""));
    assert_eq!(all.total, all.all);
    assert_eq!(listed(&session, query("UP_PROJ")).total, 2);
    assert_eq!(listed(&session, query("*.0.self_attn.?_proj")).total, 4);
    let plain =
        listed(&session, LayerQuery { scheme: Some("bf16".into()), kind: Some("norm".into()), ..query("") });
    assert_eq!(plain.total, 5);
    let window = listed(&session, LayerQuery { start: 3, count: 2, ..query("") });
    let names = |rows: &[TreeRow]| rows.iter().map(|r| r.key.clone()).collect::<Vec<_>>();
    assert_eq!((window.total, names(&window.rows)), (all.total, names(&all.rows[3..5])));
    let largest = listed(&session, LayerQuery { sort: "-size".into(), count: 1, ..query("") });
    assert_eq!(largest.rows[0].bytes, all.rows.iter().map(|r| r.bytes).max().unwrap());
    assert_eq!(listed(&session, LayerQuery { start: u64::MAX, ..query("") }).rows, []);
}

/// Every stored byte is in one cell, and a picture of many layers stays a picture.
#[test]
fn the_size_map_covers_every_byte() {
    for (files, most) in [(folder("golden/e2e_llama_nvfp4/expected"), 150), (vec![many_layers(20_000)], 1)] {
        let session = open(files);
        let overview = session.overview();
        let stored: u64 = overview.schemes.iter().map(|s| s.bytes).sum();
        assert_eq!(overview.size_map.iter().map(|c| c.bytes).sum::<u64>(), stored);
        assert_eq!(overview.size_map.iter().map(|c| c.layers).sum::<u64>(), overview.layer_count);
        assert!(overview.size_map.len() <= most, "{:?}", overview.size_map);
        for cell in overview.size_map.iter().filter(|c| c.layers == 1) {
            assert!(session.layer(&cell.name).is_some(), "{cell:?}");
        }
    }
}

#[test]
fn natural_order_and_large_windows() {
    let session = open(vec![many_layers(20_000)]);
    let page = listed(&session, LayerQuery { start: 9, count: 10_000, ..query("") });
    assert_eq!((page.total, page.rows.len()), (20_000, 500));
    assert_eq!(page.rows[0].key, "model.layers.9.mlp.up_proj");
    assert_eq!(page.rows[1].key, "model.layers.10.mlp.up_proj");
}

/// Decoded values against the source they were quantized from: no further off than half the widest step of
/// their block, and the same in number.
#[test]
fn decoded_values_are_those_of_the_source() {
    let packed = open(folder("golden/e2e_llama_nvfp4/expected"));
    let source = open(folder("golden/_src/llama"));
    for name in ["model.layers.0.mlp.up_proj", "model.layers.1.self_attn.q_proj"] {
        let read = |s: &Session| futures_executor::block_on(s.layer_values(name, &Uncontrolled)).unwrap();
        let (decoded, original) = (read(&packed), read(&source));
        assert_eq!(
            (decoded.values_read, decoded.values_total),
            (original.values_read, original.values_total)
        );
        assert!((decoded.histogram.std / original.histogram.std - 1.0).abs() < 0.05, "{name}");
        assert!((decoded.histogram.high / original.histogram.high - 1.0).abs() < 0.05, "{name}");
        assert_eq!(decoded.histogram.bins.iter().sum::<u64>(), decoded.values_read);
        assert!(decoded.has_scales && !original.has_scales);
        assert_eq!(decoded.block.unwrap().values.len(), 16);
        // The largest of the source is in the file as it is: its place is found again.
        let largest = &original.outliers[0];
        assert_eq!(f64::from(largest.value.abs()), original.histogram.high, "{name}");
    }
}

#[test]
fn verifying_finds_equal_weights_and_the_union_of_findings() {
    let mut session = open(folder("golden-pr/tied/nvfp4_canonical_on/source_duplicated"));
    assert!(!session.ties().bytes_compared);
    let engine = CpuEngine::new();
    let engines = || Engines { gpu: None, cpu: &engine };
    let first = futures_executor::block_on(session.verify(engines(), &Uncontrolled)).unwrap();
    let ties = session.ties();
    assert!(ties.bytes_compared && ties.group_count > 0, "{ties:?}");
    assert!(ties.groups.iter().all(|g| g.bytes_saved > 0));
    let infos =
        session.findings().iter().filter(|g| g.severity == Severity::Info).map(|g| g.count).sum::<u64>();
    assert_eq!(infos, ties.group_count);
    // Verifying again replaces, it does not add.
    let again = futures_executor::block_on(session.verify(engines(), &Uncontrolled)).unwrap();
    assert_eq!(again.findings_after, first.findings_after);
}

#[test]
fn nothing_to_read_is_said() {
    let refused = futures_executor::block_on(Session::open(
        "x",
        vec![file("a.txt", vec![])],
        Limits::default(),
        &Uncontrolled,
    ));
    assert_eq!(refused.err().unwrap().kind, "nothing");
}

#[test]
fn rubbish_is_a_finding_and_the_rest_is_still_read() {
    let mut files = folder("golden/e2e_llama_nvfp4/expected");
    files.push(file("dropped/rubbish.safetensors", vec![0xff; 100]));
    let session = open(files);
    assert_eq!(session.findings()[0].rule, "ST101");
    assert!(session.layer("model.layers.0.mlp.up_proj").is_some());
}

/// The saved page: nothing of a file becomes markup, nothing is fetched, nothing runs.
#[test]
fn the_saved_page_stands_alone() {
    let mut files = folder("golden/e2e_llama_nvfp4/expected");
    let evil = "<img src=x onerror=alert(1)>&\"'\u{202e}";
    let header =
        serde_json::json!({evil: {"dtype": "U8", "shape": [1, 8], "data_offsets": [0, 8]}}).to_string();
    let mut bytes = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(header.into_bytes());
    bytes.extend([0; 8]);
    files.push(file("dropped/</code><b>.safetensors", bytes));
    let session = open(files);
    let page = render(Form::Html, &[session.audit_view()]).unwrap();
    assert!(
        page.contains("&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#39;\\u{202e}"),
        "the name is not there"
    );
    for markup in ["<img", "<b>", "<script", "</code><b>", "\u{202e}", " src=", "href="] {
        let found = page.match_indices(markup).filter(|(at, _)| !page[..*at].ends_with("&lt;img"));
        assert_eq!(found.count(), 0, "{markup}");
    }
    assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme: dark"));
    // Every element that is opened is closed.
    for element in ["section", "details", "summary", "table", "tbody", "ul", "li", "code", "main", "p", "h1"]
    {
        let opened =
            page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
        assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
    }
}

/// What the page shows of layers that other projects packed: values, the first block, scales.
#[test]
fn foreign_layers_show_their_values() {
    let shown = |case: &str, module: &str| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/golden-foreign").join(case);
        let about: serde_json::Value =
            serde_json::from_slice(&std::fs::read(root.join("case.json")).unwrap()).unwrap();
        let weights = file("model.safetensors", std::fs::read(root.join("packed.safetensors")).unwrap());
        let config = file("config.json", about["config"].to_string().into_bytes());
        let session = open(vec![weights, config]);
        futures_executor::block_on(session.layer_values(module, &Uncontrolled)).unwrap()
    };
    // A group of GPTQ: the scale is found behind the zero points.
    let gptq = shown("gptq_4bit_sym", "linear");
    assert_eq!((gptq.values_read, gptq.values_total), (64 * 64, 64 * 64));
    let block = gptq.block.unwrap();
    assert!(block.values.len() >= 16 && block.codes.is_empty(), "eight codes a word, down the columns");
    assert!(block.scale.starts_with("0x") && block.scale.len() > 9, "{}", block.scale);
    // Nested block maxima are codes into a table: shown as they are, not as numbers, not as a picture.
    let nested = shown("bnb_nf4_nested", "linear");
    assert!(!nested.block.unwrap().scale.contains('='));
    assert!(!nested.has_scales);
    // A power of two is a number, also where the header calls it U8.
    let mx = shown("mlx_mxfp4", "linear");
    assert!(mx.block.unwrap().scale.contains(" = "));
    assert!(mx.has_scales);
}

#[test]
fn findings_are_narrowed_by_severity_rule_runtime_and_layer() {
    use quantscope_session::api::{AuditChoice, FindingQuery};
    let mut session = open(folder("golden/e2e_wan_vae_nvfp4_release/expected"));
    let choice = AuditChoice { targets: vec!["vllm".into()], disabled: vec![] };
    session.choose(&choice).unwrap();
    let all = session.findings();
    let count = |query: &FindingQuery| session.findings_of(query).iter().map(|g| g.count).sum::<u64>();
    let total = count(&FindingQuery::default());
    assert_eq!(total, all.iter().map(|g| g.count).sum::<u64>());
    let errors = count(&FindingQuery { severity: Some(Severity::Error), ..FindingQuery::default() });
    assert_eq!(errors, session.overview().errors);
    let one =
        FindingQuery { rule: " cf302 ".into(), layer: "decoder.conv_out".into(), ..FindingQuery::default() };
    assert_eq!(count(&one), 1, "{:?}", session.findings_of(&one));
    let by_title = FindingQuery { rule: "stored plain".into(), ..FindingQuery::default() };
    assert!(session.findings_of(&by_title).iter().all(|g| g.rule == "CF302") && count(&by_title) > 40);
    let globbed = FindingQuery { layer: "encoder.*".into(), ..FindingQuery::default() };
    assert!(count(&globbed) > 0 && count(&globbed) < total);
    let nobody = FindingQuery { target: Some("comfyui".into()), ..FindingQuery::default() };
    assert_eq!(count(&nobody), 0);
}
