//! A worker process: a program that is started once and answers each row that it is sent, in order.
//!
//! As text, a row is one line of numbers with a blank between them, and so is its answer, where commas
//! may stand too. In binary, both are little-endian doubles without anything between them. One thread
//! writes, one reads the answers, one the standard error: a program that answers before it has read all
//! rows, or after, blocks nobody.

mod channels;
mod error;

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use flows_core::{Error, Result};

use self::channels::{Channels, Received};
pub use self::error::ProgramError;

/// How long a program that has closed its output may take to end, before it is ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Longest quotation of an answer in an error.
const QUOTED: usize = 60;

/// How rows and answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One line a row.
    #[default]
    Text,
    /// Little-endian doubles, 8 bytes each.
    Binary,
}

/// What a worker process is started with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setup {
    /// Run by `sh -c`.
    pub(crate) command: String,
    /// Numbers of a row that is sent.
    pub(crate) sent: usize,
    /// Numbers of an answer.
    pub(crate) answered: usize,
    /// How both are written.
    pub(crate) format: Format,
    /// Seconds without an answer after which the program counts as hung.
    pub(crate) limit: f64,
}

/// A running program.
#[derive(Debug)]
pub(crate) struct Worker {
    setup: Setup,
    limit: Duration,
    child: Child,
    channels: Channels,
    /// Whether it has answered before.
    has_answered: bool,
    /// Whether an error has left it where no answer can be told from another.
    is_broken: bool,
}

impl Worker {
    /// Starts the program.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a limit, or a number of columns, that is not positive;
    /// [`ProgramError::NotStarted`] if there is no shell. A command that the shell does not find is
    /// told by the first [`ask`](Self::ask).
    pub(crate) fn start(setup: Setup) -> Result<Self> {
        let limit = match Duration::try_from_secs_f64(setup.limit) {
            Ok(limit) if !limit.is_zero() => limit,
            _ => {
                let (name, requirement) = ("seconds for an answer", "positive and finite");
                return Err(Error::Parameter { name, requirement, value: setup.limit });
            }
        };
        let widths = [("numbers of a row", setup.sent), ("numbers of an answer", setup.answered)];
        for (name, count) in widths {
            if count == 0 {
                return Err(Error::Parameter { name, requirement: "at least 1", value: 0.0 });
            }
        }
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&setup.command);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // In a group of its own, so that what the shell starts can be ended with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        let not_started = |reason: std::io::Error| ProgramError::NotStarted {
            command: setup.command.clone(),
            reason: reason.to_string(),
        };
        let mut child = shell.spawn().map_err(not_started)?;
        let answer = match setup.format {
            Format::Text => None,
            Format::Binary => Some(8 * setup.answered),
        };
        let channels = match Channels::open(&mut child, answer) {
            Ok(channels) => channels,
            Err(error) => {
                end(&mut child);
                return Err(not_started(error).into());
            }
        };
        Ok(Self { setup, limit, child, channels, has_answered: false, is_broken: false })
    }

    /// Sends rows, stored one after another, and waits for their answers, in the same order. Answers
    /// may hold NaN and infinities; what they mean is the caller's matter.
    ///
    /// # Errors
    /// Any [`ProgramError`], with the number of the row among these. The program is then ended, and
    /// later calls fail.
    pub(crate) fn ask(&mut self, rows: &[f64]) -> Result<Vec<f64>, ProgramError> {
        if self.is_broken {
            return Err(ProgramError::Broken { command: self.setup.command.clone() });
        }
        let answers = self.exchange(rows);
        if answers.is_err() {
            self.is_broken = true;
            end(&mut self.child);
        }
        answers
    }

    fn exchange(&mut self, rows: &[f64]) -> Result<Vec<f64>, ProgramError> {
        let count = rows.len() / self.setup.sent;
        self.refuse_unasked()?;
        self.channels.send(match self.setup.format {
            Format::Text => lines(rows, self.setup.sent),
            Format::Binary => rows.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
        let mut answers = Vec::with_capacity(count * self.setup.answered);
        for row in 0..count {
            match self.channels.answers.recv_timeout(self.limit) {
                Ok(Received::Answer(bytes)) => self.read(&bytes, row, &mut answers)?,
                Ok(Received::Failed(reason)) => {
                    return Err(ProgramError::Unreadable { row, reason });
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.silence(rows, row)),
                Err(RecvTimeoutError::Disconnected) => return Err(self.early_end(rows, row)),
            }
            self.has_answered = true;
        }
        self.refuse_unasked()?;
        Ok(answers)
    }

    /// A line that nobody asked for would be taken for the answer to the next row.
    fn refuse_unasked(&self) -> Result<(), ProgramError> {
        match self.channels.answers.try_recv() {
            Ok(Received::Answer(bytes)) => Err(ProgramError::Unasked { got: quoted(&bytes) }),
            Ok(Received::Failed(_)) | Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                Ok(())
            }
        }
    }

    fn read(&self, bytes: &[u8], row: usize, to: &mut Vec<f64>) -> Result<(), ProgramError> {
        if self.setup.format == Format::Binary {
            let (values, _) = bytes.as_chunks::<8>();
            to.extend(values.iter().map(|value| f64::from_le_bytes(*value)));
            return Ok(());
        }
        let line = String::from_utf8_lossy(bytes);
        let words = line.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty());
        let (expected, got) = (self.setup.answered, words.clone().count());
        if got != expected {
            return Err(ProgramError::Columns { row, expected, got, line: quoted(bytes) });
        }
        for (column, word) in words.enumerate() {
            let value = word.parse().map_err(|_| {
                let got = quoted(word.as_bytes());
                ProgramError::Value { row, column, got }
            })?;
            to.push(value);
        }
        Ok(())
    }

    fn silence(&self, rows: &[f64], row: usize) -> ProgramError {
        let (asked, log) = (self.asked(rows, row), self.channels.log_now());
        ProgramError::Silent { row, asked, seconds: self.setup.limit, log }
    }

    /// The numbers of a row as text.
    fn asked(&self, rows: &[f64], row: usize) -> String {
        let row = rows.chunks_exact(self.setup.sent).nth(row);
        quoted(&lines(row.unwrap_or_default(), self.setup.sent))
    }

    fn early_end(&mut self, rows: &[f64], row: usize) -> ProgramError {
        let asked = Instant::now();
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if asked.elapsed() < LAST_WORDS => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Ok(None) | Err(_) => break None,
            }
        };
        let log = self.channels.log_at_end(LAST_WORDS);
        // What a shell says of a command that it cannot run, or not find.
        let unknown = status.is_some_and(|status| matches!(status.code(), Some(126 | 127)));
        if unknown && !self.has_answered {
            return ProgramError::NotStarted { command: self.setup.command.clone(), reason: log };
        }
        let status = match status {
            Some(status) => status.to_string(),
            None => "it closed its output but runs on".into(),
        };
        ProgramError::Ended { row, asked: self.asked(rows, row), status, log }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Ends a program with all that it has started, unless it has ended. The threads end with its pipes.
fn end(child: &mut Child) {
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // It fails only where nothing is left to end.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Rows as lines; numbers are read back as they were.
fn lines(rows: &[f64], width: usize) -> Vec<u8> {
    let mut text = String::new();
    for row in rows.chunks_exact(width) {
        for (column, value) in row.iter().enumerate() {
            if column > 0 {
                text.push(' ');
            }
            // Whole numbers without a point, since they may be counts or seeds.
            let is_whole = value.fract() == 0.0 && value.abs() < 1e15;
            text.push_str(&if is_whole { format!("{value}") } else { format!("{value:?}") });
        }
        text.push('\n');
    }
    text.into_bytes()
}

fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let short: String = text.chars().take(QUOTED).collect();
    if short.len() < text.len() { format!("{short}...") } else { short }
}
