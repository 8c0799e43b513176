//! Files that lie: every fixture with bytes changed at random, in headers, configs and data. Whatever stands in
//! them, the audit ends with findings.

use crate::cases::all;
use crate::fixture::Chance;
use crate::opened::findings_of;

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
