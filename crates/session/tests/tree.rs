//! The module tree against counts taken from the header by other means, and questions against plain filters.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_session::api::{LayerQuery, Severity, TreePage, TreeQuery, TreeRow};
use quantscope_session::{InputFile, Limits, MemorySource, Session, Uncontrolled};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

type Tensors = Vec<(String, &'static str, Vec<u64>)>;

/// Names and shapes of a small mixture of experts: one dense layer, `moe` others of `experts` experts each.
fn mixture(moe: u64, experts: u64) -> Tensors {
    let mut tensors: Tensors = vec![
        ("model.embed_tokens.weight".into(), "BF16", vec![8, 4]),
        ("lm_head.weight".into(), "BF16", vec![8, 4]),
        ("model.norm.weight".into(), "BF16", vec![4]),
    ];
    for layer in 0..=moe {
        let prefix = format!("model.layers.{layer}");
        tensors.push((format!("{prefix}.input_layernorm.weight"), "BF16", vec![4]));
        tensors.push((format!("{prefix}.self_attn.q_proj.weight"), "BF16", vec![4, 4]));
        if layer == 0 {
            tensors.push((format!("{prefix}.mlp.up_proj.weight"), "BF16", vec![16, 4]));
            continue;
        }
        for expert in 0..experts {
            for part in ["gate_proj", "up_proj", "down_proj"] {
                tensors.push((format!("{prefix}.mlp.experts.{expert}.{part}.weight"), "BF16", vec![2, 4]));
            }
        }
    }
    tensors
}

fn file(tensors: &Tensors) -> Vec<u8> {
    let mut header = Map::new();
    let mut end = 0;
    for (name, dtype, shape) in tensors {
        let width = if *dtype == "F32" { 4 } else { 2 };
        let begin = end;
        end += shape.iter().product::<u64>() * width;
        header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [begin, end] }));
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut bytes = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.resize(bytes.len() + usize::try_from(end).unwrap(), 0);
    bytes
}

fn open(files: Vec<(String, Vec<u8>)>) -> Session {
    let files = files
        .into_iter()
        .map(|(path, bytes)| InputFile { source: Rc::new(MemorySource::new(&path, bytes)), path })
        .collect();
    futures_executor::block_on(Session::open("test", files, Limits::default(), &Uncontrolled)).unwrap()
}

fn open_tensors(tensors: &Tensors) -> Session {
    open(vec![("model.safetensors".into(), file(tensors))])
}

fn golden(path: &str) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(path);
    let entries = std::fs::read_dir(root).unwrap().flatten();
    entries
        .map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read(e.path()).unwrap()))
        .collect()
}

fn ask(session: &Session, text: &str, toggled: &[&str]) -> TreePage {
    let filter = LayerQuery { text: text.into(), count: 500, ..LayerQuery::default() };
    let toggled = toggled.iter().map(ToString::to_string).collect();
    session.tree(&TreeQuery { filter, flat: false, toggled })
}

fn labels(page: &TreePage) -> Vec<(u32, &str, u64)> {
    page.rows.iter().map(|row| (row.depth, row.label.as_str(), row.folded)).collect()
}

#[test]
fn identical_blocks_are_one_row_and_can_be_opened() {
    let session = open_tensors(&mixture(6, 3));
    let page = ask(&session, "", &[]);
    let expected = [
        (0, "lm_head", 1),
        (0, "model", 1),
        (1, "embed_tokens", 1),
        (1, "layers", 1),
        (2, "0", 1),
        (3, "input_layernorm", 1),
        (3, "mlp.up_proj", 1),
        (3, "self_attn.q_proj", 1),
        (2, "1–6", 6),
        (1, "norm", 1),
    ];
    assert_eq!(labels(&page), expected);
    let set = &page.rows[8];
    assert_eq!((set.key.as_str(), set.open, set.layers), ("model.layers.1+", Some(false), 6 * 11));
    // Opened, the set gives its members, and a member the sets below it.
    let page = ask(&session, "", &["model.layers.1+", "model.layers.1"]);
    let from = page.rows.iter().position(|row| row.key == "model.layers.1").unwrap();
    let rows: Vec<_> = labels(&page)[from..from + 5].to_vec();
    let below = [
        (3, "1", 1),
        (4, "input_layernorm", 1),
        (4, "mlp.experts.0–2", 3),
        (4, "self_attn.q_proj", 1),
        (3, "2", 1),
    ];
    assert_eq!(rows, below);
    // Closing what is open by itself hides what is below it.
    assert_eq!(labels(&ask(&session, "", &["model"])), [(0, "lm_head", 1), (0, "model", 1)]);
}

#[test]
fn siblings_that_differ_are_not_folded_and_sets_need_not_be_runs() {
    let mut tensors = Tensors::new();
    for layer in 0..9 {
        let shape = if layer % 2 == 0 { vec![4, 4] } else { vec![4, 8] };
        tensors.push((format!("layers.{layer}.proj.weight"), "BF16", shape));
    }
    tensors.push(("layers.9.proj.weight".into(), "F32", vec![4, 4]));
    tensors.push(("layers.last.proj.weight".into(), "BF16", vec![4, 4]));
    let session = open_tensors(&tensors);
    let page = ask(&session, "", &[]);
    let expected = [
        (0, "layers", 1),
        (1, "0, 2, 4 …", 5),
        (1, "1, 3, 5 …", 4),
        // Another type is another scheme; a word is no number.
        (1, "9.proj", 1),
        (1, "last.proj", 1),
    ];
    let found = labels(&page);
    assert_eq!(found.iter().copied().filter(|(_, label, _)| *label != "layers").count(), 4, "{found:?}");
    for row in &expected {
        assert!(found.contains(row), "{row:?} in {found:?}");
    }
}

/// Bytes of every path, from the header as `serde_json` reads it.
fn bytes_by_path(bytes: &[u8]) -> BTreeMap<String, u64> {
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let header: Map<String, Value> = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut sums = BTreeMap::new();
    for (name, tensor) in header.iter().filter(|(name, _)| *name != "__metadata__") {
        let offsets = tensor["data_offsets"].as_array().unwrap();
        let size = offsets[1].as_u64().unwrap() - offsets[0].as_u64().unwrap();
        for (dot, _) in name.match_indices('.') {
            *sums.entry(name[..dot].to_string()).or_insert(0) += size;
        }
    }
    sums
}

/// Rows with everything open, by asking again until nothing is closed.
fn all_open(session: &Session, text: &str) -> TreePage {
    let mut toggled: Vec<String> = Vec::new();
    loop {
        let keys: Vec<&str> = toggled.iter().map(String::as_str).collect();
        let page = ask(session, text, &keys);
        let closed: Vec<String> =
            page.rows.iter().filter(|r| r.open == Some(false)).map(|r| r.key.clone()).collect();
        if closed.is_empty() {
            return page;
        }
        toggled.extend(closed);
    }
}

#[test]
fn every_row_sums_up_what_is_below_it() {
    let small = file(&mixture(4, 3));
    let llama = golden("golden/e2e_llama_nvfp4/expected");
    let weights = llama.iter().find(|(name, _)| name.ends_with(".safetensors")).unwrap().1.clone();
    for (files, bytes) in [(vec![("model.safetensors".to_string(), small.clone())], small), (llama, weights)]
    {
        let session = open(files);
        let expected = bytes_by_path(&bytes);
        let page = all_open(&session, "");
        assert!(page.rows.len() > 20);
        for row in page.rows.iter().filter(|row| row.folded == 1) {
            assert_eq!(row.bytes, expected[&row.key], "{}", row.key);
            assert_eq!(row.schemes.iter().map(|s| s.bytes).sum::<u64>(), row.bytes, "{}", row.key);
        }
        for row in page.rows.iter().filter(|row| row.folded > 1) {
            let first = row.key.trim_end_matches('+');
            assert_eq!(row.bytes, expected[first] * row.folded, "{}", row.key);
        }
        // Every layer is there once, and the rows of the top hold all of it.
        let mut layers: Vec<&String> = page.rows.iter().filter_map(|row| row.layer.as_ref()).collect();
        let flat = session.tree(&TreeQuery {
            filter: LayerQuery { count: 500, ..LayerQuery::default() },
            flat: true,
            toggled: Vec::new(),
        });
        let mut names: Vec<&String> = flat.rows.iter().filter_map(|row| row.layer.as_ref()).collect();
        layers.sort();
        names.sort();
        assert_eq!(layers, names);
        let top =
            |value: fn(&TreeRow) -> u64| page.rows.iter().filter(|r| r.depth == 0).map(value).sum::<u64>();
        let overview = session.overview();
        assert_eq!(top(|r| r.layers), overview.layer_count);
        assert_eq!(top(|r| r.parameters), overview.parameters);
    }
}

#[test]
fn rows_of_a_search_sum_up_what_matches_alone() {
    let mut tensors = mixture(4, 3);
    // Another scheme beside the first, layers with others below them, and something to find.
    tensors.push(("model.layers.2.mlp.extra.weight".into(), "F32", vec![4, 4]));
    tensors.push(("model.layers.3.mlp.weight".into(), "BF16", vec![4, 4]));
    tensors.push(("model.layers.4.mlp.weight".into(), "F32", vec![4, 4]));
    tensors.push(("model.layers.1.mlp.experts.2.up_proj.weight_quantizer._amax".into(), "F32", vec![]));
    let session = open_tensors(&tensors);
    for text in ["mlp", "experts", "experts.1", "layers.3", "proj", "extra", "e", "4.mlp", "up_proj", "2"] {
        let page = all_open(&session, text);
        assert!(!page.rows.is_empty(), "{text:?}");
        for row in page.rows.iter().filter(|row| row.folded == 1) {
            let (mut layers, mut findings) = (0, 0);
            let mut schemes: BTreeMap<String, u64> = BTreeMap::new();
            for (name, dtype, shape) in &tensors {
                let (layer, rest) = name.split_once(".weight").unwrap();
                let below = layer.strip_prefix(&row.key).is_some_and(|r| r.is_empty() || r.starts_with('.'));
                if !below || !layer.contains(text) {
                    continue;
                }
                if rest.is_empty() {
                    layers += 1;
                    findings += session.layer(layer).unwrap().findings.len();
                }
                // What a quantizer left has the scheme of its layer.
                let scheme = if *dtype == "F32" && rest.is_empty() { "f32" } else { "bf16" };
                let width = if *dtype == "F32" { 4 } else { 2 };
                *schemes.entry(scheme.into()).or_insert(0) += shape.iter().product::<u64>() * width;
            }
            assert_eq!(
                (row.layers, row.findings),
                (layers, u64::try_from(findings).unwrap()),
                "{text:?}, {}",
                row.key
            );
            assert_eq!(row.bytes, schemes.values().sum::<u64>(), "{text:?}, {}", row.key);
            let said = row.schemes.iter().map(|share| (share.scheme.clone(), share.bytes)).collect();
            assert_eq!(schemes, said, "{text:?}, {}", row.key);
        }
    }
}

#[test]
fn a_search_leaves_what_matches_and_the_way_to_it() {
    let session = open_tensors(&mixture(6, 3));
    let page = ask(&session, "*.q_proj", &[]);
    assert_eq!((page.matching, page.all), (7, 3 + 7 * 2 + 1 + 6 * 9));
    // Few hits are all in sight, sets open.
    let hits: Vec<&str> = page.rows.iter().filter_map(|row| row.layer.as_deref()).collect();
    let expected: Vec<String> =
        (0..7).map(|layer| format!("model.layers.{layer}.self_attn.q_proj")).collect();
    assert_eq!(hits, expected);
    assert_eq!(page.rows.iter().filter(|row| row.depth == 0).map(|row| row.bytes).sum::<u64>(), 7 * 32);
    let page = ask(&session, "EXPERTS.1.UP", &[]);
    assert_eq!(page.matching, 6);
    assert!(
        page.rows.iter().filter_map(|row| row.layer.as_ref()).all(|name| name.ends_with("experts.1.up_proj"))
    );
    assert_eq!(ask(&session, "nothing of the kind", &[]).rows, []);
}

#[test]
fn filters_by_size_and_severity_and_orders_by_any_column() {
    let mut tensors = mixture(3, 2);
    // State of a quantizer that was left in, and a scale that belongs to nothing.
    tensors.push(("model.layers.1.self_attn.q_proj.weight_quantizer._amax".into(), "F32", vec![]));
    tensors.push(("model.layers.2.self_attn.q_proj.weight_scale".into(), "F32", vec![]));
    let session = open_tensors(&tensors);
    let all = session.tree(&TreeQuery {
        filter: LayerQuery { count: 500, ..LayerQuery::default() },
        flat: true,
        toggled: vec![],
    });
    let flat = |filter: LayerQuery| {
        session
            .tree(&TreeQuery { filter: LayerQuery { count: 500, ..filter }, flat: true, toggled: vec![] })
            .rows
    };
    assert!(all.rows.iter().any(|row| row.findings > 0), "{:?}", session.findings());
    for severity in [Severity::Error, Severity::Warning, Severity::Info] {
        let found = flat(LayerQuery { severity: Some(severity), ..LayerQuery::default() });
        let with = |row: &&TreeRow| {
            session
                .layer(row.layer.as_ref().unwrap())
                .unwrap()
                .findings
                .iter()
                .any(|f| f.severity == severity)
        };
        assert_eq!(found.len(), all.rows.iter().filter(with).count());
    }
    let middle = all.rows[all.rows.len() / 2].bytes;
    let large = flat(LayerQuery { at_least_bytes: middle, ..LayerQuery::default() });
    assert_eq!(large.len(), all.rows.iter().filter(|row| row.bytes >= middle).count());
    for (key, value) in [
        ("size", (|row: &TreeRow| row.bytes) as fn(&TreeRow) -> u64),
        ("weights", |row| row.parameters),
        ("findings", |row| row.findings.min(1)),
    ] {
        for (sort, down) in [(key.to_string(), false), (format!("-{key}"), true)] {
            let values: Vec<u64> =
                flat(LayerQuery { sort: sort.clone(), ..LayerQuery::default() }).iter().map(value).collect();
            let ordered =
                values.windows(2).all(|pair| if down { pair[0] >= pair[1] } else { pair[0] <= pair[1] });
            assert!(ordered && values.len() == all.rows.len(), "{sort}: {values:?}");
        }
    }
}

#[test]
fn hostile_names_make_a_tree_too() {
    let deep = vec!["a"; 5000].join(".");
    let names = [
        "",
        ".",
        "..weight",
        "a",
        "a.weight",
        "a.b",
        "a.b.c.weight",
        "a..b.weight",
        "1.+.weight",
        "1.weight",
        &deep,
    ];
    let tensors: Tensors = names.iter().map(|name| ((*name).to_string(), "BF16", vec![2, 2])).collect();
    let session = open_tensors(&tensors);
    let page = all_open(&session, "");
    let layers = page.rows.iter().filter(|row| row.layer.is_some()).count();
    assert_eq!(u64::try_from(layers).unwrap(), page.all);
    assert!(page.rows.iter().all(|row| row.depth < 64));
}

/// The picture of a module holds every byte below it, at every level, and leads down to single layers.
#[test]
fn the_size_map_can_be_entered() {
    let bytes = file(&mixture(4, 400));
    let expected = bytes_by_path(&bytes);
    let session = open(vec![("model.safetensors".into(), bytes)]);
    let whole = session.size_view("").unwrap();
    assert_eq!(whole.cells, session.overview().size_map);
    for path in [
        "model",
        "model.layers",
        "model.layers.1",
        "model.layers.1.mlp.experts",
        "model.layers.1.mlp.experts.7",
    ] {
        let view = session.size_view(path).unwrap();
        assert_eq!(view.bytes, expected[path], "{path}");
        assert_eq!(view.cells.iter().map(|cell| cell.bytes).sum::<u64>(), view.bytes, "{path}");
        assert_eq!(view.cells.iter().map(|cell| cell.layers).sum::<u64>(), view.layers, "{path}");
        assert!(view.cells.len() <= 300);
        for cell in view.cells.iter().filter(|cell| !cell.name.is_empty()) {
            assert_eq!(cell.bytes, expected[&cell.name], "{}", cell.name);
        }
    }
    let experts = session.size_view("model.layers.1.mlp.experts").unwrap();
    let rest = experts.cells.last().unwrap();
    assert_eq!((experts.cells.len(), rest.name.as_str(), rest.layers), (300, "", (400 - 299) * 3));
    let layer = "model.layers.1.self_attn.q_proj";
    let alone = session.size_view(layer).unwrap();
    assert_eq!((alone.cells.len(), alone.cells[0].name.as_str()), (1, layer));
    assert_eq!(session.size_view("model.nothing"), None);
}
