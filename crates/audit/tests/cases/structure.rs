//! Rules of the form of a file.

use super::Fixtures;
use crate::fixture::Ckpt;

pub(super) fn rules() -> Fixtures {
    let one = || Ckpt::new().plain("a", &[2, 4], 1);
    let two = || one().plain("b", &[2, 4], 2);
    let edited = |edit: fn(String) -> String| two().header(edit);
    vec![
        (
            "ST001",
            edited(|h| h.replace("\"b.weight\"", "\"a.weight\"").replacen("[0,16]", "[16,32]", 1)),
            two(),
        ),
        (
            "ST002",
            edited(|h| h.replacen('{', "{\"__metadata__\":null,", 1)),
            edited(|h| h.replacen('{', "{\"__metadata__\":{\"format\":\"pt\"},", 1)),
        ),
        (
            "ST003",
            edited(|h| h.replace("b.weight", "../b.weight")),
            edited(|h| h.replace("b.weight", "b..weight")),
        ),
        ("ST101", edited(|h| h.replace(':', ";")), edited(|h| h.replace(':', " : "))),
        ("ST102", edited(|h| h.replace("[16,32]", "[8,24]")), edited(|h| h.replace("[16,32]", "[16, 32]"))),
        ("ST103", edited(|h| h.replace("BF16", "BF17")), edited(|h| h.replace("BF16", "F16"))),
        ("ST104", edited(|h| h.replace("[2,4]", "[2,5]")), edited(|h| h.replace("[2,4]", "[4,2]"))),
        (
            "ST105",
            two().file(|mut bytes| {
                bytes.push(0);
                bytes
            }),
            two(),
        ),
        ("ST106", two().limits(|l| l.tensors = 1), two().limits(|l| l.tensors = 2)),
        ("ST004", edited(|h| h + &" ".repeat(25_000_001)), edited(|h| h + &" ".repeat(24_000_000))),
        // Neither file is as long as its header says; that is another finding.
        (
            "ST005",
            edited(|h| h.replace("[2,4]", "[67108864,4]").replace("[0,16]", "[0,536870912]")),
            edited(|h| h.replace("[2,4]", "[67108863,4]").replace("[0,16]", "[0,536870904]")),
        ),
        (
            "ST006",
            // Five bytes before a tensor of two-byte elements.
            edited(|h| {
                h.replace("BF16", "U8").replacen("U8", "BF16", 1).replace("[0,16]", "[5,21]").replacen(
                    '{',
                    &odd(),
                    1,
                )
            }),
            edited(|h| h.replace("BF16", "U8").replace("[0,16]", "[5,21]").replacen('{', &odd(), 1)),
        ),
    ]
}

/// An entry of five bytes that comes first.
fn odd() -> String {
    "{\"o.weight\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[0,5]},".into()
}
