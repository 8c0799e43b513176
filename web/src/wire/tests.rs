//! What is packed comes out again; what was cut, prolonged or meant for another type does not.

use super::OtherForm;
use super::decode::from_bytes;
use super::encode::to_bytes;
use crate::protocol::{Event, FromWorker, PlanSummary, Reply, Request, ToWorker};
use quantscope_session::api::{SessionError, TreePage};
use quantscope_session::call::Summary;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Everything that a message may be made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct All {
    flag: bool,
    small: u8,
    signed: Vec<i64>,
    large: Vec<u64>,
    larger: Vec<u128>,
    single: Vec<f32>,
    double: Vec<f64>,
    letter: char,
    text: String,
    pair: (u16, i8),
    maybe: Vec<Option<String>>,
    by_name: BTreeMap<String, u32>,
    nothing: (),
    #[serde(skip_serializing_if = "Option::is_none", default)]
    left_out: Option<u32>,
    kinds: Vec<Kind>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    left_out_too: Vec<u32>,
    last: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Unit,
    Newtype(u32),
    Tuple(u32, String),
    Struct {
        a: bool,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        b: Option<u8>,
    },
}

fn all() -> All {
    All {
        flag: true,
        small: 255,
        signed: vec![0, -1, 1, 63, -64, 64, i64::MAX, i64::MIN],
        large: vec![0, 1, 127, 128, 1 << 53, (1 << 53) + 1, u64::MAX],
        larger: vec![0, u128::from(u64::MAX), 1 << 64, u128::MAX],
        single: vec![0.0, -0.0, f32::MIN_POSITIVE, f32::INFINITY],
        double: vec![0.1, -1e300, f64::NEG_INFINITY, f64::EPSILON],
        letter: 'ß',
        text: "model.layers.0\u{0}…".into(),
        pair: (65_535, -128),
        maybe: vec![None, Some(String::new())],
        by_name: BTreeMap::from([("a".into(), 1), ("b".into(), 2)]),
        nothing: (),
        left_out: None,
        kinds: vec![
            Kind::Unit,
            Kind::Newtype(300),
            Kind::Tuple(1, "x".into()),
            Kind::Struct { a: true, b: None },
            Kind::Struct { a: false, b: Some(9) },
        ],
        left_out_too: Vec::new(),
        last: 77,
    }
}

fn comes_out_again<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let bytes = to_bytes(value).unwrap();
    assert_eq!(from_bytes::<T>(&bytes).as_ref(), Ok(value));
    for len in 0..bytes.len() {
        assert_eq!(from_bytes::<T>(&bytes[..len]), Err(OtherForm), "{len} of {} bytes", bytes.len());
    }
    let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
    assert_eq!(from_bytes::<T>(&longer), Err(OtherForm));
}

#[test]
fn values_come_out_again_and_no_part_of_them_is_taken_for_the_whole() {
    comes_out_again(&all());
    comes_out_again(&All { left_out: Some(0), left_out_too: vec![1, 2], ..all() });
    comes_out_again(&All::default());
}

#[test]
fn messages_come_out_again() {
    let request = Request::OpenSample { folder: "vae".into(), name: "A VAE".into() };
    comes_out_again(&ToWorker { id: 7, request });
    comes_out_again(&FromWorker::Event(Event::Failed("no memory".into())));
    let refused = SessionError { kind: "refused".into(), message: "a fault".into() };
    comes_out_again(&FromWorker::Reply { id: 8, result: Box::new(Err(refused)) });
    let plan = PlanSummary { bytes_after: u64::MAX, free_here: Some(1), ..PlanSummary::default() };
    comes_out_again(&FromWorker::Reply { id: 9, result: Box::new(Ok(Reply::Planned(plan))) });
}

/// What a compute worker answers: one that could not be written would count as lost, and nothing but time would show it.
#[test]
fn every_summary_of_a_call_comes_out_again() {
    for summary in [
        Summary::Nothing,
        Summary::AbsMax(Box::default()),
        Summary::Nvfp4(Box::default()),
        Summary::Fp8(Box::default()),
        Summary::Scales(Box::default()),
        Summary::Errors(Box::default()),
        Summary::Bytes(Box::default()),
    ] {
        comes_out_again(&summary);
    }
}

/// As the JSON of the same value says it, through a reader and writer that are not ours.
#[test]
fn values_mean_what_their_json_means() {
    let value = All { single: vec![1.5], double: vec![0.1], ..all() };
    let json = serde_json::to_string(&value).unwrap();
    let other: All = serde_json::from_str(&json).unwrap();
    assert_eq!(from_bytes::<All>(&to_bytes(&value).unwrap()), Ok(other));
}

/// Page and worker of two builds.
#[test]
fn another_number_of_fields_is_noticed() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Two {
        a: u32,
        b: u32,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Three {
        a: u32,
        b: u32,
        #[serde(default)]
        c: u32,
    }
    let (two, three) = (Two { a: 1, b: 2 }, Three { a: 1, b: 2, c: 3 });
    assert_eq!(from_bytes::<Three>(&to_bytes(&two).unwrap()), Err(OtherForm));
    assert_eq!(from_bytes::<Two>(&to_bytes(&three).unwrap()), Err(OtherForm));
    assert_eq!(from_bytes::<Kind>(&[9]), Err(OtherForm), "there is no tenth variant");
    assert!(from_bytes::<TreePage>(&to_bytes(&two).unwrap()).is_err());
}

/// Numbers that their type has no room for, and lengths that there are no bytes for.
#[test]
fn what_cannot_be_is_refused() {
    assert_eq!(from_bytes::<u8>(&[0x80, 2]), Err(OtherForm));
    assert_eq!(from_bytes::<u64>(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), Err(OtherForm));
    assert_eq!(from_bytes::<u64>(&[0x80; 11]), Err(OtherForm));
    assert_eq!(from_bytes::<bool>(&[2]), Err(OtherForm));
    assert_eq!(from_bytes::<char>(&[0x80, 0xb0, 3]), Err(OtherForm), "half of a pair");
    assert_eq!(from_bytes::<String>(&[2, 0xff, 0xfe]), Err(OtherForm), "no UTF-8");
    assert_eq!(from_bytes::<Option<u8>>(&[2, 1]), Err(OtherForm));
    assert_eq!(from_bytes::<Vec<u64>>(&[0xff, 0xff, 0xff, 0xff, 0x7f]), Err(OtherForm));
    assert_eq!(from_bytes::<String>(&[0xff, 0xff, 0xff, 0xff, 0x7f]), Err(OtherForm));
}
