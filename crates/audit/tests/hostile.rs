//! Files that lie: every fixture with bytes changed at random, in headers, configs and data. Whatever stands in
//! them, the audit ends with findings.

use crate::cases::all;
use crate::fixture::{Chance, Ckpt};
use crate::opened::findings_of;
use futures_util::future::LocalBoxFuture;
use quantscope_audit::bytes::audit_bytes;
use quantscope_audit::{Checkpoint, Engines, HeaderContext, InputFile, Model, header_findings};
use quantscope_format::{Limits, MemorySource, Source, SourceError, Uncontrolled};
use quantscope_kernels::CpuEngine;
use std::cell::Cell;
use std::rc::Rc;

/// Values that upset arithmetic, as they would stand in JSON.
const UPSETTING: &[&str] = &[
    "18446744073709551615",
    "9223372036854775808",
    "-1",
    "0",
    "1e308",
    "null",
    "\"\"",
    "[]",
    "{}",
    "4294967296",
];

/// Replaces a number of the text by an upsetting value; the length of a header stays as it claims.
fn upset(bytes: &mut [u8], from: usize, to: usize, chance: &mut Chance) {
    let digits: Vec<usize> = (from..to.min(bytes.len())).filter(|&i| bytes[i].is_ascii_digit()).collect();
    let Some(&at) = digits.get(usize::from(chance.byte()) * 7 % digits.len().max(1)) else { return };
    let value = UPSETTING[usize::from(chance.byte()) % UPSETTING.len()].as_bytes();
    for (place, &byte) in bytes[at..to.min(at + value.len())].iter_mut().zip(value) {
        *place = byte;
    }
}

#[test]
fn whatever_a_file_says_the_audit_ends() {
    let mut chance = Chance::new(7);
    let mut audited = 0;
    for (rule, trips, near) in all() {
        // Headers of megabytes would take the time of all others together.
        if rule == "ST004" {
            continue;
        }
        for fixture in [trips, near] {
            for round in 0..6 {
                let mut files = fixture.built();
                for (name, bytes) in &mut files {
                    let json = name.ends_with(".json");
                    let header = if json { bytes.len() } else { 300.min(bytes.len()) };
                    let from = if json { 0 } else { 8.min(bytes.len()) };
                    if round % 2 == 0 {
                        upset(bytes, from, header, &mut chance);
                    } else if !bytes.is_empty() {
                        let place = usize::from(chance.byte()) * 131 % bytes.len();
                        bytes[place] = chance.byte();
                    }
                }
                let found = findings_of(files);
                assert!(found.iter().all(|f| !f.message.is_empty()), "{rule}: {found:?}");
                audited += 1;
            }
        }
    }
    assert!(audited > 500, "{audited} files");
}

/// What is said of single layers becomes a tree of values, many times as large: how much of it is read is bounded,
/// whether it stands in metadata or in tensors, of which any number may name the same bytes.
#[test]
fn what_is_said_of_layers_is_read_to_a_bound() {
    let shape =
        |i: usize| format!(r#""{i}.weight_shape":{{"dtype":"I64","shape":[2],"data_offsets":[0,16]}}"#);
    let tensors: Vec<String> = (0..50).map(shape).collect();
    let layers = format!(r#"{{\"layers\":{{\"a.b\":{{\"format\":\"x{}\"}}}}}}"#, "y".repeat(800));
    let metadata = format!(r#""__metadata__":{{"_quantization_metadata":"{layers}"}}"#);
    let said = layers.replace('\\', "").len() as u64;
    // Not about layers, or no JSON: as long as it may be.
    let prose = format!(r#""__metadata__":{{"workflow":"{0}","a.b":"{0}"}}"#, "y".repeat(5000));
    let cases = [(tensors.join(","), 16, 800), (metadata, 0, said), (prose, 0, 0)];
    for (entries, data, all) in cases {
        let json = format!("{{{entries}}}");
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        bytes.resize(bytes.len() + data, 1);
        let header = 8 + json.len() as u64;
        let told = |json_bytes: u64| {
            let source = Rc::new(MemorySource::new("model.safetensors", bytes.clone()));
            let behind: Rc<dyn Source> = Rc::<MemorySource>::clone(&source);
            let files = vec![InputFile { path: "model.safetensors".into(), source: behind }];
            let limits = Limits { json_bytes, ..Limits::default() };
            let opening = Checkpoint::open("one", files, &limits, &Uncontrolled);
            let checkpoint = futures_executor::block_on(opening).unwrap();
            let model = Model::of(&checkpoint);
            let findings = header_findings(HeaderContext { checkpoint: &checkpoint, model: &model }).to_vec();
            let told = findings.into_iter().filter(|f| f.rule == "ST106");
            assert!(source.bytes_read() - header <= json_bytes / 8 + 16);
            told.map(|finding| (finding.found.unwrap(), finding.fix.into_owned())).collect::<Vec<_>>()
        };
        assert_eq!(told(all.max(1) * 8), []);
        if let Some(less) = all.checked_sub(1) {
            let fix = format!("If the file is trusted, raise the limit: --limit json={}.", all * 8);
            assert_eq!(told(less * 8), [((all * 8).to_string(), fix)]);
        }
    }
}

/// A file that keeps in mind the longest read since its header was read.
struct Measured {
    file: MemorySource,
    longest: Rc<Cell<usize>>,
}

impl Source for Measured {
    fn len(&self) -> u64 {
        self.file.len()
    }
    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        self.longest.set(self.longest.get().max(buf.len()));
        self.file.read(offset, buf)
    }
}

/// A row may exceed the tile, and a row of its scales as well: neither is ever whole in memory, and every scale is
/// found beside its codes.
#[test]
fn rows_of_any_length_are_checked_in_tiles() {
    const TILE: u64 = 1024;
    let (blocks, cols) = (700, 128 * 700);
    let codes = [vec![0x38; 2 * cols - 128], vec![0; 127], vec![0x7f]].concat();
    let mut scales = [0x3f80_0000_u32.to_le_bytes(); 700].concat();
    // Two scales are zero: one over codes that are not, and one that is half over zeros.
    scales[4 * 350..4 * 351].fill(0);
    scales[4 * 699..].fill(0);
    let files = Ckpt::new()
        .tensor("a.weight", "F8_E4M3", &[2, cols as u64], codes)
        .tensor("a.weight_scale_inv", "F32", &[1, blocks], scales)
        .built();
    let told = |tile_bytes: u64| {
        let longest = Rc::new(Cell::new(0));
        let input = |(name, bytes): &(String, Vec<u8>)| InputFile {
            path: name.clone(),
            source: Rc::new(Measured {
                file: MemorySource::new(name.clone(), bytes.clone()),
                longest: Rc::clone(&longest),
            }),
        };
        let (limits, engine) = (Limits { tile_bytes, ..Limits::default() }, CpuEngine::new());
        let audit = futures_executor::block_on(async {
            let files = files.iter().map(input).collect();
            let checkpoint = Checkpoint::open("one", files, &limits, &Uncontrolled).await.unwrap();
            longest.set(0);
            let model = Model::of(&checkpoint);
            let engines = Engines { gpu: None, cpu: &engine };
            audit_bytes(&checkpoint, &model, engines, &limits, &Uncontrolled).await.unwrap()
        });
        let rules = audit.findings.iter().map(|f| (f.rule().to_owned(), f.to_finding().message));
        (rules.collect::<Vec<_>>(), longest.get() as u64)
    };
    // Of the first zero scale both rows are codes, of the other one row and the NaN behind it.
    let expected = [
        ("SV102", "385 weights of `a` are not zero but lie under a scale of 0 (first at element 44800)"),
        ("SV104", "1 NaN codes in `a.weight` (first at element 179199)"),
    ]
    .map(|(rule, message)| (rule.to_owned(), message.to_owned()));
    assert_eq!(told(4 << 20).0, expected);
    let (found, longest) = told(TILE);
    assert_eq!(found, expected);
    assert!(longest <= TILE, "{longest} bytes at once");
}
