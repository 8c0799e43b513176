//! Files that lie, one named test a way of lying: each ends in findings that name the place, or in a typed error,
//! within the time and the memory stated.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use peak_alloc::PeakAlloc;
use quantscope_format::{Limits, MemorySource, Uncontrolled};
use quantscope_session::api::{ConvertRequest, Report};
use quantscope_session::render::{Form, render};
use quantscope_session::{CpuEngine, Engines, InputFile, Session};
use quantscope_tests::sink::MemorySink;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Holds the process for one test: what others build would count as its memory.
fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One test at a time: the peak is of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn file(path: &str, bytes: Vec<u8>) -> InputFile {
    InputFile { path: path.into(), source: Rc::new(MemorySource::new(path, bytes)) }
}

/// A shard of that JSON and that many bytes of data.
fn shard(json: &str, data: usize) -> Vec<u8> {
    let mut bytes = u64::try_from(json.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

/// A tensor of bytes under a name that is JSON already.
fn tensor(name: &str, begin: u64, end: u64) -> String {
    format!("{name}:{{\"dtype\":\"U8\",\"shape\":[{}],\"data_offsets\":[{begin},{end}]}}", end - begin)
}

fn open(files: Vec<InputFile>) -> Session {
    futures_executor::block_on(Session::open("hostile", files, Limits::default(), &Uncontrolled)).unwrap()
}

/// Opens and audits, bytes included, within the time and `factor` times the memory of the input (and 32 MiB).
fn audited(files: Vec<InputFile>, most: Duration, factor: usize) -> Report {
    let size: usize = files.iter().map(|f| usize::try_from(f.source.len()).unwrap()).sum();
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let begun = Instant::now();
    let mut session = open(files);
    let cpu = CpuEngine::new();
    futures_executor::block_on(session.verify(Engines { gpu: None, cpu: &cpu }, &Uncontrolled)).unwrap();
    let report = session.report().unwrap();
    assert!(begun.elapsed() < most, "took {:?}", begun.elapsed());
    let peak = MEMORY.peak_usage().saturating_sub(before);
    assert!(peak <= size * factor + (32 << 20), "{peak} bytes of memory for an input of {size}");
    assert!(report.findings.iter().all(|f| !f.message.is_empty() && !f.subject.is_empty()));
    report
}

const SOON: Duration = Duration::from_secs(20);
/// Far above what it takes: unoptimised tests share their machine.
const SLOW: Duration = Duration::from_secs(600);

/// Audits one shard and expects this rule among the findings about it.
fn expect(rule: &str, bytes: Vec<u8>) {
    let report = audited(vec![file("model.safetensors", bytes)], SOON, 8);
    let own = report.findings.iter().find(|f| f.rule == rule);
    assert!(own.is_some(), "{rule} is missing among {:?}", report.findings);
    assert!(own.unwrap().file.as_deref().is_none_or(|f| f == "model.safetensors"));
}

/// Every row of what the reference's parser enforces.
#[test]
fn what_the_reference_refuses_is_found() {
    let _alone = alone();
    let t = |json: &str, data| shard(&format!("{{{json}}}"), data);
    let one = |fields: &str| t(&format!("\"t\":{{{fields}}}"), 4);
    expect("ST101", vec![1, 2, 3]);
    expect("ST101", u64::MAX.to_le_bytes().to_vec());
    expect("ST101", 100_000_001_u64.to_le_bytes().to_vec());
    expect("ST101", [9_u64.to_le_bytes().as_slice(), b"{}"].concat());
    expect("ST101", [4_u64.to_le_bytes().as_slice(), b"{\"\xff}"].concat());
    expect("ST101", shard("{} x", 0));
    expect("ST101", shard("{\"\\ud800\":1}", 0));
    expect("ST103", one("\"dtype\":\"U7\",\"shape\":[4],\"data_offsets\":[0,4]"));
    expect("ST101", one("\"dtype\":\"U8\",\"shape\":[-4],\"data_offsets\":[0,4]"));
    expect("ST101", one("\"dtype\":\"U8\",\"shape\":[4.0],\"data_offsets\":[0,4]"));
    expect("ST101", one("\"dtype\":\"U8\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]"));
    expect("ST101", one("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,8]"));
    expect("ST101", one("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0]"));
    expect("ST101", one("\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]"));
    expect("ST101", t("\"__metadata__\":{\"a\":1}", 0));
    expect("ST101", t("\"__metadata__\":{},\"__metadata__\":{}", 0));
    expect("ST102", t(&format!("{},{}", tensor("\"a\"", 0, 4), tensor("\"b\"", 6, 8)), 8));
    expect("ST102", t(&format!("{},{}", tensor("\"a\"", 0, 4), tensor("\"b\"", 2, 6)), 6));
    expect("ST102", t(&tensor("\"a\"", 2, 4), 4));
    expect("ST102", one("\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[4,0]"));
    expect("ST104", one("\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]"));
    let zero_last = "\"dtype\":\"F32\",\"shape\":[18446744073709551615,2,0],\"data_offsets\":[0,0]";
    expect("ST104", t(&format!("\"t\":{{{zero_last}}}"), 0));
    expect("ST104", one("\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,4]"));
    expect("ST104", one("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]"));
    expect("ST105", t(&tensor("\"a\"", 0, 4), 5));
    expect("IX804", t(&tensor("\"a\"", 0, 4), 3));
}

/// And what it lets through in silence.
#[test]
fn what_the_reference_lets_through_is_found() {
    let _alone = alone();
    let twice = format!("{{{},{}}}", tensor("\"a\"", 0, 4), tensor("\"a\"", 0, 4));
    expect("ST001", shard(&twice, 4));
    let as_other = tensor("\"a\"", 0, 4).replace("U8", "I8");
    expect("ST001", shard(&format!("{{{},{as_other}}}", tensor("\"a\"", 0, 4)), 4));
    expect("ST002", shard("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0));
    let field = "\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"more\":[]";
    expect("ST002", shard(&format!("{{\"t\":{{{field}}}}}"), 4));
    expect("ST003", shard(&format!("{{{}}}", tensor("\"\"", 0, 4)), 4));
    expect("ST002", shard(&format!("  {{{}}}", tensor("\"a\"", 0, 4)), 4));
    expect("ST002", shard(&format!("{{\"__metadata__\":null,{}}}", tensor("\"a\"", 0, 4)), 4));
    for name in ["\"../../etc/passwd\"", "\"a\\u0000b\"", "\"a\\nb\"", "\"/abs\"", "\"C:\\\\x\""] {
        expect("ST003", shard(&format!("{{{}}}", tensor(name, 0, 4)), 4));
    }
    let zero = "{\"t\":{\"dtype\":\"U8\",\"shape\":[0,18446744073709551615],\"data_offsets\":[0,0]}}";
    audited(vec![file("model.safetensors", shard(zero, 0))], SOON, 8);
}

/// A header of as many bytes as the reference takes, nearly all of it white space; and one byte more.
#[test]
fn a_header_of_a_hundred_megabytes() {
    let _alone = alone();
    let mut json = format!("{{{}", tensor("\"layer.weight\"", 0, 4));
    json.extend(std::iter::repeat_n(' ', 100_000_000 - json.len() - 1));
    json.push('}');
    let report = audited(vec![file("model.safetensors", shard(&json, 4))], SLOW, 3);
    assert!(report.findings.iter().any(|f| f.rule == "ST004"), "{:?}", report.findings);
    assert_eq!(report.checkpoint.tensors, 1);
    json.push(' ');
    let report = audited(vec![file("model.safetensors", shard(&json, 4))], SLOW, 3);
    assert!(report.findings.iter().any(|f| f.rule == "ST101"), "{:?}", report.findings);
}

/// One name that takes the whole header: told in a line, not repeated.
#[test]
fn a_name_of_ninety_megabytes() {
    let _alone = alone();
    let name = format!("\"{}\"", "n".repeat(90_000_000));
    let report =
        audited(vec![file("model.safetensors", shard(&format!("{{{}}}", tensor(&name, 0, 4)), 4))], SLOW, 4);
    let own = report.findings.iter().find(|f| f.rule == "ST106").unwrap();
    assert!(own.message.len() < 1000 && own.fix.contains("--limit name=90000000"), "{own:?}");
}

/// One tensor over the limit: those within it are read, and the limit is named with what raises it.
#[test]
fn more_tensors_than_the_limit() {
    let _alone = alone();
    let entry = |i: u64| tensor(&format!("\"{i}\""), i, i + 1);
    let json = (0..1001).map(entry).collect::<Vec<_>>().join(",");
    let limits = Limits { tensors: 1000, ..Limits::default() };
    let files = vec![file("model.safetensors", shard(&format!("{{{json}}}"), 1001))];
    let opened = futures_executor::block_on(Session::open("hostile", files, limits, &Uncontrolled)).unwrap();
    let report = opened.report().unwrap();
    let own = report.findings.iter().find(|f| f.rule == "ST106").unwrap();
    assert!(own.message.contains("`tensors` of 1000") && own.fix.contains("--limit tensors=1001"), "{own:?}");
    assert_eq!(report.checkpoint.tensors, 1000);
}

#[test]
fn a_million_tensors() {
    let _alone = alone();
    let mut json = String::from("{");
    for i in 0..1_000_000_u64 {
        if i > 0 {
            json.push(',');
        }
        json.push_str(&tensor(&format!("\"l.{i}.weight\""), i * 4, i * 4 + 4));
    }
    json.push('}');
    let bytes = shard(&json, 4_000_000);
    drop(json);
    let report = audited(vec![file("model.safetensors", bytes)], SLOW, 24);
    assert_eq!(report.checkpoint.tensors, 1_000_000);
}

/// Names that mean something to a page, a terminal, a script: kept as they are in the report, text everywhere else.
#[test]
fn names_are_only_text() {
    let _alone = alone();
    let names = [
        "\"<script>alert(1)</script>.weight\"",
        "\"\\\" onmouseover=x .weight\"",
        "\"\\u202egnp.weight\"",
        "\"\\u001b[31mred.weight\"",
        "\"__proto__.weight\"",
        "\"constructor.weight\"",
        "\"..\\\\..\\\\x.weight\"",
        "\"a/../../b.weight\"",
        "\"(a+)+$.weight\"",
        "\"[a-.weight\"",
        "\"\"",
        "\".\"",
        "\"....weight\"",
    ];
    let mut json = String::from("{");
    for (i, name) in (0_u64..).zip(names) {
        let comma = if i == 0 { "" } else { "," };
        write!(
            json,
            "{comma}{name}:{{\"dtype\":\"BF16\",\"shape\":[4,16],\"data_offsets\":[{},{}]}}",
            i * 128,
            i * 128 + 128
        )
        .unwrap();
    }
    json.push('}');
    let bytes = shard(&json, names.len() * 128);
    let mut session = open(vec![file("model.safetensors", bytes)]);
    let report = session.report().unwrap();
    assert_eq!(report.checkpoint.tensors, u64::try_from(names.len()).unwrap());
    let html = render(Form::Html, &[session.audit_view()]).unwrap();
    assert!(!html.contains("<script>alert"), "a name became markup");
    assert!(!html.contains('\u{202e}') && !html.contains('\u{1b}'), "a name turns the text around");
    let cpu = CpuEngine::new();
    let engines = || Engines { gpu: None, cpu: &cpu };
    futures_executor::block_on(session.verify(engines(), &Uncontrolled)).unwrap();
    let mut sink = MemorySink::default();
    let request =
        ConvertRequest { to: "nvfp4".into(), zero_tensors_as_reference: true, ..Default::default() };
    let converted =
        futures_executor::block_on(session.convert(&request, engines(), &mut sink, &Uncontrolled));
    assert!(converted.is_ok() || sink.finished.is_empty());
    let ours = ["model.safetensors", "quantscope.manifest.json"];
    assert!(sink.finished.keys().all(|name| ours.contains(&name.as_str())), "{:?}", sink.finished.keys());
}

#[test]
fn index_entries_that_lead_elsewhere() {
    let _alone = alone();
    let weights = shard(&format!("{{{}}}", tensor("\"a\"", 0, 4)), 4);
    for entry in [
        "../model.safetensors",
        "/etc/passwd",
        "https://example.org/m.safetensors",
        "C:\\m.safetensors",
        "a/../../m.safetensors",
        "\\\\host\\m.safetensors",
        "file:///m.safetensors",
    ] {
        let index = serde_json::json!({"metadata": {}, "weight_map": {"a": entry}}).to_string();
        let files = vec![
            file("model.safetensors.index.json", index.into_bytes()),
            file("model.safetensors", weights.clone()),
        ];
        let report = audited(files, SOON, 8);
        assert!(report.findings.iter().any(|f| f.rule == "IX809"), "{entry}: {:?}", report.findings);
    }
}

#[test]
fn json_nested_a_hundred_thousand_deep() {
    let _alone = alone();
    let deep = |open: &str, close: &str| open.repeat(100_000) + "1" + &close.repeat(100_000);
    let arrays = deep("[", "]");
    let objects = deep("{\"a\":", "}");
    let weights = || file("model.safetensors", shard(&format!("{{{}}}", tensor("\"a\"", 0, 4)), 4));
    for text in [&arrays, &objects] {
        expect("ST101", shard(text, 0));
        expect("ST101", shard(&format!("{{\"__metadata__\":{text}}}"), 0));
        expect(
            "ST101",
            shard(&format!("{{\"t\":{{\"dtype\":\"U8\",\"shape\":{text},\"data_offsets\":[0,0]}}}}"), 0),
        );
        for name in ["config.json", "hf_quant_config.json", "model.safetensors.index.json"] {
            let report = audited(vec![weights(), file(name, text.clone().into_bytes())], SOON, 8);
            let named =
                report.findings.iter().any(|f| f.file.as_deref() == Some(name) || f.subject.contains(name));
            assert!(named, "{name}: {:?}", report.findings);
        }
        let session = open(vec![weights()]);
        let request =
            ConvertRequest { to: "nvfp4".into(), calibration_json: Some(text.clone()), ..Default::default() };
        assert_eq!(session.plan(&request).unwrap_err().kind, "refused");
    }
}

#[test]
fn offsets_of_sixteen_exabytes() {
    let _alone = alone();
    for (begin, end) in [(0, u64::MAX), (u64::MAX - 4, u64::MAX), (0, 1 << 60)] {
        let json = format!(
            "{{\"t\":{{\"dtype\":\"U8\",\"shape\":[{}],\"data_offsets\":[{begin},{end}]}}}}",
            end - begin
        );
        let report = audited(vec![file("model.safetensors", shard(&json, 4))], SOON, 8);
        assert!(report.summary.errors > 0, "{begin}..{end}");
    }
}

#[test]
fn empty_files_and_odd_ranks() {
    let _alone = alone();
    let session = |bytes| {
        futures_executor::block_on(Session::open(
            "x",
            vec![file("a.safetensors", bytes)],
            Limits::default(),
            &Uncontrolled,
        ))
    };
    assert!(session(Vec::new()).unwrap().report().unwrap().summary.errors > 0);
    assert_eq!(session(shard("{}", 0)).unwrap().report().unwrap().checkpoint.tensors, 0);
    let ones = ["1"; 20].join(",");
    let json = format!(
        "{{\"empty.weight\":{{\"dtype\":\"BF16\",\"shape\":[0,16],\"data_offsets\":[0,0]}},\
         \"number\":{{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}},\
         \"deep.weight\":{{\"dtype\":\"BF16\",\"shape\":[{ones}],\"data_offsets\":[4,6]}}}}"
    );
    let mut opened = session(shard(&json, 6)).unwrap();
    let cpu = CpuEngine::new();
    let engines = || Engines { gpu: None, cpu: &cpu };
    futures_executor::block_on(opened.verify(engines(), &Uncontrolled)).unwrap();
    assert_eq!(opened.report().unwrap().summary.errors, 0, "{:?}", opened.report().unwrap().findings);
    for name in ["empty", "deep"] {
        futures_executor::block_on(opened.layer_values(name, &Uncontrolled)).unwrap();
    }
    let mut sink = MemorySink::default();
    let request = ConvertRequest { to: "f32".into(), ..Default::default() };
    futures_executor::block_on(opened.convert(&request, engines(), &mut sink, &Uncontrolled)).unwrap();
    assert_eq!(
        open(vec![file("m.safetensors", sink.finished["model.safetensors"].clone())]).overview().tensor_count,
        3
    );
}
