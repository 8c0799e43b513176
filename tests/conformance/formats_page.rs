//! `docs/formats` is generated from the descriptions of the schemes; this test writes it when asked and
//! otherwise fails if it is stale.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_audit::{Checkpoint, Model};
use quantscope_format::{Limits, Uncontrolled};
use quantscope_schemes::{Family, schemes};
use quantscope_tests::format_pages::{contents, page};
use quantscope_tests::specimen::Specimen;
use quantscope_tests::{data, root};
use std::collections::BTreeMap;
use std::path::Path;

/// Set to write the pages instead of comparing them.
const WRITE: &str = "QUANTSCOPE_WRITE_DOCS";

/// The scheme that a specimen shows.
fn scheme_of(specimen: &Specimen) -> Option<&'static str> {
    let limits = Limits::default();
    let opened = Checkpoint::open("specimen", specimen.files.clone(), &limits, &Uncontrolled);
    let model = Model::of(&futures_executor::block_on(opened).unwrap());
    model.layers.iter().find(|l| l.is_quantized()).map(|l| l.scheme.id())
}

/// Every packed case of the data: those that other packages packed first.
fn cases() -> Vec<String> {
    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let mut cases: Vec<String> =
        names(&data("golden-foreign")).iter().map(|case| format!("golden-foreign/{case}")).collect();
    for group in names(&data("made")) {
        let files = names(&data("made").join(&group));
        let packed = files.iter().filter_map(|name| name.strip_suffix(".packed.safetensors"));
        cases.extend(packed.map(|case| format!("made/{group}/{case}")));
    }
    cases
}

/// The first case for every scheme that has one.
fn packed() -> BTreeMap<&'static str, Specimen> {
    let mut specimens = BTreeMap::new();
    for case in cases() {
        let specimen = Specimen::packed(&case);
        if let Some(id) = scheme_of(&specimen) {
            specimens.entry(id).or_insert(specimen);
        }
    }
    specimens
}

fn pages() -> BTreeMap<String, String> {
    let packed = packed();
    let mut pages = BTreeMap::from([("README.md".to_string(), contents())]);
    for scheme in schemes() {
        let id = scheme.id();
        let made = scheme.about().can_encode.then(|| Specimen::converted(id).unwrap());
        let text = page(*scheme, made.as_ref().or_else(|| packed.get(id)));
        let shown = text.contains("## An example in bytes");
        assert!(
            shown || scheme.family() == Family::Plain || scheme.about().companions.is_empty(),
            "{id} has no example"
        );
        pages.insert(format!("{id}.md"), text);
    }
    pages
}

#[test]
fn the_pages_of_formats_are_what_the_schemes_say() {
    let folder = root().join("docs/formats");
    let pages = pages();
    if std::env::var_os(WRITE).is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in &pages {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }
    let mut stand: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    stand.sort();
    assert_eq!(stand, pages.keys().cloned().collect::<Vec<_>>(), "docs/formats has other pages");
    let stale: Vec<&String> = pages
        .iter()
        .filter(|(name, text)| std::fs::read_to_string(folder.join(name)).unwrap_or_default() != **text)
        .map(|(name, _)| name)
        .collect();
    assert!(
        stale.is_empty(),
        "{stale:?} are stale; write them again with {WRITE}=1 cargo test -p quantscope-tests --test formats_page"
    );
}
