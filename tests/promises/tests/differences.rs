//! Our reader of headers against the `safetensors` crate, on many changed headers: every difference is of a class
//! that `differences.toml` explains.
//!
//! `QUANTSCOPE_HEADERS` says how many; the headers are the same on every machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use quantscope_format::{TensorInfo, Tensors};
use quantscope_promises::{Comparison, Difference, Mutator, cases, classes, compare, framed, judged};
use std::collections::BTreeMap;

/// The crate says where it panics each time it does; once is enough.
fn silently<T>(work: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = work();
    std::panic::set_hook(hook);
    result
}

#[test]
fn changed_headers_differ_as_explained() {
    let count: u64 = std::env::var("QUANTSCOPE_HEADERS").map_or(20_000, |n| n.parse().unwrap());
    let seeds: Vec<Vec<u8>> = cases("seeds", "header").into_iter().map(|case| case.bytes).collect();
    let mut mutator = Mutator::new(2);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let unexplained = silently(|| {
        for round in 0..count {
            let file = match round % 2 {
                0 => framed(&mutator.changed(&seeds, 600)),
                _ => mutator.header(&seeds),
            };
            let what = match compare(&file, &judged(&file)) {
                Comparison::Accepted => "accepted by both",
                Comparison::Refused => "refused by both",
                Comparison::Explained(difference) => difference.id(),
                Comparison::Unexplained(unlike) => return Some((unlike, file)),
            };
            *counts.entry(what.into()).or_default() += 1;
        }
        None
    });
    if let Some((unlike, file)) = unexplained {
        panic!("{unlike}\n{}", String::from_utf8_lossy(&file));
    }
    println!("{count} headers: {counts:?}");
    // Else the changes would test nothing.
    assert!(counts["accepted by both"] > count / 20 && counts["refused by both"] > count / 20, "{counts:?}");
}

#[test]
fn every_class_has_an_example_that_shows_it() {
    let classes = classes();
    let own: Vec<_> = classes.iter().filter(|class| class.reader == "safetensors crate").collect();
    assert_eq!(own.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), Difference::ALL.map(Difference::id));
    for class in own {
        let file = class.example();
        match silently(|| compare(&file, &judged(&file))) {
            Comparison::Explained(difference) => assert_eq!(difference.id(), class.id),
            other => panic!("the example of {:?} shows {other:?}", class.id),
        }
    }
    assert!(classes.iter().all(|c| !c.why.is_empty() && !c.does.is_empty()));
}

/// The comparison can fail: one wrong answer of each kind is seen.
#[test]
fn a_wrong_reading_is_seen() {
    let json = br#"{"__metadata__":{"a":"b"},"t":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#;
    let mut file = u64::try_from(json.len()).unwrap().to_le_bytes().to_vec();
    file.extend_from_slice(json);
    file.extend([0; 3]);
    let right = judged(&file);
    assert_eq!(compare(&file, &right), Comparison::Accepted);
    let mut wrong = [0; 5].map(|_| right.clone());
    wrong[0].defects.push(quantscope_format::Defect::Trailing { extra: 1 });
    let tensor = right.tensors.get(0).unwrap();
    wrong[1].tensors = [TensorInfo { shape: &[4], ..tensor }].into_iter().collect();
    wrong[2].tensors = [TensorInfo { end: tensor.end + 1, ..tensor }].into_iter().collect();
    wrong[3].tensors = Tensors::default();
    wrong[4].metadata.clear();
    for header in wrong {
        assert!(matches!(compare(&file, &header), Comparison::Unexplained(_)), "{header:?}");
    }
    let refused = [2_u64.to_le_bytes().as_slice(), b"{ "].concat();
    assert!(matches!(compare(&refused, &judged(&file)), Comparison::Unexplained(_)));
}
