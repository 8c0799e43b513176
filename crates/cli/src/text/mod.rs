//! What people read. Plain text where the output is piped, colour where it is a terminal.
//!
//! Names come from files that nobody vouches for: [`printable`] keeps them from moving the cursor.

pub(crate) mod diff;
pub(crate) mod findings;
pub(crate) mod overview;
pub(crate) mod plan;
pub(crate) mod preview;
pub(crate) mod proof;
pub(crate) mod repair;

use crate::exit::Failure;
use comfy_table::{Attribute, Cell as TableCell, CellAlignment, Color, ContentArrangement, Table, presets};
use quantscope_session::Session;
use quantscope_session::render::{Form, write};
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

/// Prints to standard output.
pub(crate) fn out(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    printed(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Prints the report of some checkpoints in a form, as it is made.
pub(crate) fn report(form: Form, sessions: &[Session]) -> Result<(), Failure> {
    let views: Vec<_> = sessions.iter().map(Session::audit_view).collect();
    printed(write(form, &views, &mut io::stdout().lock()))
}

/// A reader that closed the pipe has had enough; that is no failure.
pub(crate) fn printed(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new("sink", format!("cannot print: {error}")))
        }
        _ => Ok(()),
    }
}

/// A remark on standard error, beside the result.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// Text from a file with control characters, and those that turn text around, made visible.
pub(crate) fn printable(text: &str) -> String {
    let turns_text =
        |c: char| matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns_text(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Bytes in the largest unit that leaves a number of at least 1, powers of 1000.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    match UNITS.iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{} {name}", tenths(count, *unit)),
        None => format!("{count} bytes"),
    }
}

/// A count such as 671.0 billion.
pub(crate) fn count(count: u64) -> String {
    const UNITS: [(u64, &str); 3] =
        [(1_000_000_000_000, "trillion"), (1_000_000_000, "billion"), (1_000_000, "million")];
    match UNITS.iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{} {name}", tenths(count, *unit)),
        None => count.to_string(),
    }
}

/// `count / unit` with one decimal, cut, in whole numbers.
fn tenths(count: u64, unit: u64) -> String {
    format!("{}.{}", count / unit, count % unit / (unit / 10))
}

/// A number and its noun.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Up to four decimals without the zeros behind them.
pub(crate) fn decimal(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A cell of a table: text, and what it means.
pub(crate) struct Cell {
    text: String,
    paint: Option<Paint>,
}

impl Cell {
    pub(crate) fn painted(paint: Paint, text: impl Into<String>) -> Self {
        Self { text: text.into(), paint: Some(paint) }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), paint: None }
    }
}

/// Narrower terminals are left to wrap lines themselves.
const NARROWEST: u16 = 60;

/// A table without borders; the columns named in `right` hold numbers.
pub(crate) fn table(header: &[&str], right: &[usize], rows: Vec<Vec<Cell>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if is_plain() {
        table.force_no_tty();
    }
    if table.width().is_some_and(|width| width >= NARROWEST) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(
        header.iter().map(|title| styled(Cell::painted(Paint::Faint, *title))).collect::<Vec<_>>(),
    );
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(styled).collect::<Vec<_>>()));
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// In the table's own terms, which know that colour takes no room.
fn styled(cell: Cell) -> TableCell {
    let styled = TableCell::new(cell.text);
    match cell.paint {
        None => styled,
        Some(Paint::Good) => styled.fg(Color::DarkGreen),
        Some(Paint::Bad) => styled.fg(Color::DarkRed).add_attribute(Attribute::Bold),
        Some(Paint::Doubtful) => styled.fg(Color::DarkYellow),
        Some(Paint::Strong) => styled.add_attribute(Attribute::Bold),
        Some(Paint::Faint) => styled.add_attribute(Attribute::Dim),
    }
}

/// What a piece of text means, as far as colour tells it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Paint {
    Good,
    Bad,
    Doubtful,
    Strong,
    Faint,
}

/// Colours a text if standard output is a terminal and `NO_COLOR` is not set.
pub(crate) fn paint(paint: Paint, text: &str) -> String {
    if is_plain() {
        return text.to_owned();
    }
    let code = match paint {
        Paint::Good => "32",
        Paint::Bad => "31;1",
        Paint::Doubtful => "33",
        Paint::Strong => "1",
        Paint::Faint => "2",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// Whether standard output takes no colour.
fn is_plain() -> bool {
    !io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, decimal, printable};

    #[test]
    fn sizes_are_said_in_their_unit() {
        let cases =
            [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (1999, "1.9 kB"), (12_345_678, "12.3 MB")];
        for (given, expected) in cases {
            assert_eq!(bytes(given), expected);
        }
        assert_eq!(bytes(u64::MAX), "18446744.0 TB");
        assert_eq!((count(999_999).as_str(), count(671_026_419_200).as_str()), ("999999", "671.0 billion"));
        assert_eq!((decimal(4.5), decimal(16.0), decimal(0.0)), ("4.5".into(), "16".into(), "0".into()));
    }

    #[test]
    fn names_cannot_write_to_the_terminal() {
        assert_eq!(printable("a.größe"), "a.größe");
        assert_eq!(printable("a\u{1b}[2J\n\u{202E}b"), "a\\u{1b}[2J\\n\\u{202e}b");
    }
}
