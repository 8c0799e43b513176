//! On what was measured: the machine, the versions, the day.

use super::peers::Peers;
use crate::project::Project;
use xshell::cmd;

/// Facts by name, in the order in which they are told.
pub(crate) fn describe(project: &Project, peers: &Peers) -> Vec<(String, String)> {
    let says = |command: xshell::Cmd<'_>| {
        command.quiet().ignore_stderr().ignore_status().read().unwrap_or_default().trim().to_owned()
    };
    let sh = &project.sh;
    let mut facts = vec![
        ("date".to_owned(), says(cmd!(sh, "date -u +%Y-%m-%d"))),
        ("commit".to_owned(), says(cmd!(sh, "git rev-parse --short HEAD"))),
        ("processor".to_owned(), processor()),
        ("memory".to_owned(), memory()),
        ("load when it began, tasks that want a core".to_owned(), load()),
        ("system".to_owned(), says(cmd!(sh, "uname -sr"))),
        ("rustc".to_owned(), says(cmd!(sh, "rustc --version"))),
        ("node".to_owned(), says(cmd!(sh, "node --version"))),
        ("chromium".to_owned(), says(cmd!(sh, "chromium --version"))),
    ];
    facts.extend(peers.versions(project));
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{}, {cores} cores", field(&text, "model name").unwrap_or("unknown"))
}

/// Tasks that ran or waited for a core over the last minute: a run among many says so.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes =
        field(&text, "MemTotal").and_then(|value| value.strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.map_or_else(String::new, |kilobytes| format!("{} GiB", kilobytes.div_ceil(1 << 20)))
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields_are_found() {
        assert_eq!(field("a: 1\nmodel name\t: X 2\n", "model name"), Some("X 2"));
        assert_eq!(field("a: 1", "b"), None);
    }
}
