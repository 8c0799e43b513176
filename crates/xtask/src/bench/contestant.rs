//! A contestant: a process that works when it is told to, or a command that is timed as a whole.

use anyhow::{Context as _, Result, bail, ensure};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

/// What is started.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// How a contestant is measured.
#[derive(Debug, Clone)]
pub(crate) enum Contestant {
    /// It stays, and takes the time of each turn itself.
    Turns(Program),
    /// The same, but a new process for each turn: for what is slower the first time.
    Fresh(Program),
    /// Commands from start to end, one after the other. A folder that they write is removed before each turn.
    Whole { steps: Vec<Program>, output: Option<PathBuf> },
}

impl Program {
    /// A program with its arguments.
    pub(crate) fn new<A: Into<String>>(
        path: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { path: path.into(), arguments }
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        command
    }
}

/// One turn: how long, and the check of the result if the contestant has one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Turn {
    pub(crate) seconds: f64,
    /// Seconds of the processor, of all threads together; the same as `seconds` where nobody counted them.
    pub(crate) processor: f64,
    pub(crate) check: Option<String>,
}

/// A contestant that is ready.
pub(crate) enum Runner {
    Turns(Conversation),
    Fresh(Program),
    Whole { steps: Vec<Program>, output: Option<PathBuf> },
}

impl Runner {
    pub(crate) fn start(contestant: Contestant) -> Result<Self> {
        Ok(match contestant {
            Contestant::Turns(program) => Self::Turns(Conversation::begin(&program)?),
            Contestant::Fresh(program) => Self::Fresh(program),
            Contestant::Whole { steps, output } => Self::Whole { steps, output },
        })
    }

    pub(crate) fn turn(&mut self) -> Result<Turn> {
        match self {
            Self::Turns(conversation) => conversation.turn(),
            Self::Fresh(program) => Conversation::begin(program)?.turn(),
            Self::Whole { steps, output } => {
                if let Some(folder) = output.as_ref().filter(|folder| folder.exists()) {
                    std::fs::remove_dir_all(folder)?;
                }
                let begun = Instant::now();
                for step in steps {
                    let status = step.command().stdout(Stdio::null()).stderr(Stdio::null()).status();
                    let status = status.with_context(|| format!("starting {}", step.path.display()))?;
                    ensure!(
                        status.success(),
                        "{} {} ended with {status}",
                        step.path.display(),
                        step.arguments.join(" ")
                    );
                }
                let seconds = begun.elapsed().as_secs_f64();
                Ok(Turn { seconds, processor: seconds, check: None })
            }
        }
    }
}

/// A child that answers each line with a line.
pub(crate) struct Conversation {
    child: Child,
    into: ChildStdin,
    out: BufReader<ChildStdout>,
    name: String,
}

impl Conversation {
    fn begin(program: &Program) -> Result<Self> {
        let name = format!("{} {}", program.path.display(), program.arguments.join(" "));
        let mut command = program.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        let (Some(into), Some(out)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("{name} has no pipes")
        };
        let mut conversation = Self { child, into, out: BufReader::new(out), name };
        // What a program prints while it loads is not for us.
        while conversation.line()? != "ready" {}
        Ok(conversation)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.out.read_line(&mut line)? > 0, "{} ended early", self.name);
        Ok(line.trim().to_owned())
    }

    fn turn(&mut self) -> Result<Turn> {
        writeln!(self.into, "run")?;
        self.into.flush()?;
        let line = self.line()?;
        parse_turn(&line).with_context(|| format!("{} answered {line:?}", self.name))
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // It has nothing to finish; an error means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `0.123 00ff 0.12`: seconds, a check, seconds of the processor.
fn parse_turn(line: &str) -> Option<Turn> {
    let mut words = line.split(' ');
    let (seconds, check, processor) = (words.next()?, words.next()?, words.next()?);
    Some(Turn {
        seconds: seconds.parse().ok()?,
        processor: processor.parse().ok()?,
        check: Some(check.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let turn = Turn { seconds: 0.5, processor: 0.25, check: Some("00ff".into()) };
        assert_eq!(parse_turn("0.5 00ff 0.25"), Some(turn));
        for line in ["ready", "soon 00ff 0.25", "0.5 00ff", "0.5 00ff much"] {
            assert_eq!(parse_turn(line), None);
        }
    }

    #[test]
    fn a_command_that_fails_is_an_error() {
        let whole = |program: &str| Contestant::Whole {
            steps: vec![Program::new(program, Vec::<String>::new())],
            output: None,
        };
        assert!(Runner::start(whole("false")).unwrap().turn().is_err());
        assert!(Runner::start(whole("true")).unwrap().turn().unwrap().seconds >= 0.0);
    }
}
