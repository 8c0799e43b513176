//! Anything may stand in a file: whatever shapes, types, bytes and JSON say, a layer is refused, or decodes to
//! values without a panic, an overflow, or memory for what a file only claims.

use crate::case::{Case, Tensor};
use quantscope_kernels::{CpuEngine, EngineError};
use quantscope_numeric::Dtype;
use quantscope_schemes::{Region, recognise, schemes};
use serde_json::{Value, json};

/// Numbers that sizes are replaced by.
const SIDES: &[u64] = &[0, 1, 7, 1 << 60, u64::MAX];

/// Asks every scheme about every layer, whether it claims it or not, and decodes a corner of what it decodes.
/// Answers how many layers were decoded.
fn ask(case: &Case) -> usize {
    let mut decoded = 0;
    for (module, _) in case.layers() {
        let view = case.view(module);
        let _ = recognise(&view);
        for scheme in schemes() {
            let _ = (scheme.recognise(&view), scheme.logical_shape(&view), scheme.weight_leaf(&view));
            for tensor in &view.tensors {
                let _ = scheme.legal_shapes(tensor.leaf, &view);
            }
            let Ok(decoder) = scheme.decoder(&view) else { continue };
            decoded += 1;
            let [rows, cols] = decoder.extent();
            let unit = decoder.column_unit();
            for (top, left) in [(0, 0), (rows.saturating_sub(2), cols.saturating_sub(1) / unit * unit)] {
                let region = Region {
                    rows: top..top.saturating_add(2).min(rows),
                    cols: left..left.saturating_add(64).min(cols),
                };
                // A tensor is as long as its shape says, or the reader refuses: none of these is long.
                let slabs = decoder.needs(&region);
                let parts: Option<Vec<Vec<u8>>> = slabs.iter().map(|slab| case.slab(module, slab)).collect();
                let (is_whole, short) = (parts.is_some(), vec![Vec::new(); slabs.len()]);
                for (parts, is_whole) in [(parts.unwrap_or_default(), is_whole), (short, false)] {
                    let mut values = Vec::new();
                    let engine = CpuEngine::new();
                    let done = decoder.decode(&engine, &region, &parts, &mut values);
                    // An engine may say that a part is too short; it never says so of a whole one.
                    match futures_executor::block_on(done) {
                        Ok(()) => {}
                        Err(EngineError::TileSize { .. }) if !is_whole => {}
                        Err(error) => panic!("{}: {}: {error}", case.name, scheme.id()),
                    }
                    assert!(values.len() <= 128, "{}: {} values", case.name, values.len());
                }
            }
        }
    }
    decoded
}

/// A case with one tensor changed.
fn with(case: &Case, name: &str, change: impl Fn(&mut Tensor)) -> Case {
    let mut tensors = case.tensors.clone();
    change(tensors.get_mut(name).unwrap());
    Case::of(&format!("{} with another {name}", case.name), tensors, case.about.clone())
}

fn names(case: &Case) -> Vec<String> {
    case.tensors.keys().cloned().collect()
}

#[test]
fn shapes_may_say_anything() {
    let mut decoded = 0;
    for (case, _) in crate::cases() {
        decoded += ask(&case);
        for name in names(&case) {
            let rank = case.tensors[&name].shape.len();
            for side in 0..rank {
                for &length in SIDES {
                    ask(&with(&case, &name, |t| t.shape[side] = length));
                }
            }
            for shape in [vec![], vec![u64::MAX; 2], vec![u64::MAX; 9], vec![1; 5], vec![0, u64::MAX]] {
                ask(&with(&case, &name, |t| t.shape.clone_from(&shape)));
            }
            for &length in SIDES {
                let every = |shape: &[u64]| vec![length; shape.len()];
                ask(&with(&case, &name, |t| t.shape = every(&t.shape)));
            }
        }
        // All tensors at once, so that what must agree does.
        for &length in SIDES {
            let mut tensors = case.tensors.clone();
            for tensor in tensors.values_mut() {
                tensor.shape.iter_mut().for_each(|side| *side = length);
            }
            ask(&Case::of(&case.name, tensors, case.about.clone()));
        }
    }
    assert!(decoded > 50, "only {decoded} layers were decoded at all");
}

#[test]
fn types_may_be_wrong_and_tensors_missing() {
    for (case, _) in crate::cases() {
        for name in names(&case) {
            for &dtype in Dtype::ALL {
                ask(&with(&case, &name, |t| t.dtype = dtype));
            }
            let mut tensors = case.tensors.clone();
            tensors.remove(&name);
            ask(&Case::of(&case.name, tensors, case.about.clone()));
        }
    }
}

/// Values that JSON may hold in place of what belongs there.
fn oddities() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(99),
        json!(u64::MAX),
        json!(1e300),
        json!("four"),
        json!([]),
        json!([u64::MAX, u64::MAX]),
        json!([0, -3.5, "x"]),
        json!({}),
        json!({"_data": 3}),
    ]
}

/// The value with one entry, at any depth, replaced by an oddity; every one by every one.
fn twisted(value: &Value) -> Vec<Value> {
    let mut found = oddities();
    match value {
        Value::Object(map) => {
            for (key, entry) in map {
                for odd in twisted(entry) {
                    let mut copy = map.clone();
                    copy.insert(key.clone(), odd);
                    found.push(Value::Object(copy));
                }
                let mut copy = map.clone();
                copy.remove(key);
                found.push(Value::Object(copy));
            }
        }
        // JSON within JSON, as headers have it.
        Value::String(text) => {
            if let Ok(inner @ Value::Object(_)) = serde_json::from_str(text) {
                found.extend(twisted(&inner).into_iter().map(|v| Value::String(v.to_string())));
            }
        }
        _ => {}
    }
    found
}

#[test]
fn configs_and_metadata_may_say_anything() {
    for (case, _) in crate::cases() {
        for key in ["config", "header_metadata"] {
            for odd in twisted(&case.about[key]) {
                // A header's metadata holds texts alone; the reader of headers sees to that.
                let texts = odd.as_object().is_some_and(|map| map.values().all(Value::is_string));
                if key == "config" || texts {
                    let mut about = case.about.clone();
                    about[key] = odd;
                    ask(&Case::of(&case.name, case.tensors.clone(), about));
                }
            }
        }
    }
}

#[test]
fn descriptors_may_say_anything() {
    let mut twists = 0;
    for (case, _) in crate::cases() {
        for name in names(&case) {
            let Ok(Value::Object(said)) = serde_json::from_slice::<Value>(&case.tensors[&name].bytes) else {
                continue;
            };
            for odd in twisted(&Value::Object(said.clone())) {
                twists += 1;
                let text = odd.to_string().into_bytes();
                ask(&with(&case, &name, |t| {
                    t.shape = vec![text.len() as u64];
                    t.bytes.clone_from(&text);
                }));
            }
        }
    }
    assert!(twists > 100, "only {twists} twists: the descriptors were not found");
}

/// Maps of groups that point nowhere give NaN where they do, and values where they do not.
#[test]
fn maps_may_point_nowhere() {
    let mut seen = 0;
    for (case, _) in crate::cases() {
        for name in names(&case).iter().filter(|name| name.ends_with("g_idx")) {
            let module = name.rsplit_once('.').unwrap().0;
            for group in [-1, 4, 1 << 20, i32::MIN, i32::MAX] {
                let twisted = with(&case, name, |t| t.bytes[..4].copy_from_slice(&i32::to_le_bytes(group)));
                let decoder = twisted.decoder(module).unwrap();
                let values = twisted.decoded(module, decoder.as_ref(), decoder.extent());
                let cols = decoder.extent()[1] as usize;
                for row in values.chunks(cols) {
                    assert!(row[0].is_nan(), "{}: group {group} is {}", case.name, row[0]);
                    assert!(row[1..].iter().all(|v| !v.is_nan()), "{}", case.name);
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} maps");
}
