//! The threads at the pipes of a worker process.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Lines of the standard error that are kept, and the most bytes of a line.
const LOGGED: usize = 10;
const LOGGED_LINE: u64 = 1 << 12;

/// Most bytes of one line of numbers; a program that writes without end must not fill the memory.
const LONGEST: u64 = 1 << 26;

/// Answers that wait to be taken before the reading stops.
const WAITING: usize = 1 << 10;

/// What has come from the program.
#[derive(Debug)]
pub(super) enum Received {
    /// The bytes of an answer.
    Answer(Vec<u8>),
    /// The system's reason why it cannot be read.
    Failed(String),
}

/// Ways to and from a program, each with a thread that ends when the program closes its pipe.
#[derive(Debug)]
pub(super) struct Channels {
    requests: Sender<Vec<u8>>,
    /// Closed when the program closes its output.
    pub(super) answers: Receiver<Received>,
    log: Arc<Mutex<VecDeque<String>>>,
    log_closed: Receiver<()>,
}

impl Channels {
    /// Takes the pipes of a child; its answers are lines, or blocks of so many bytes.
    pub(super) fn open(child: &mut Child, answer: Option<usize>) -> Result<Self> {
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut input), Some(output), Some(errors)) = pipes else {
            return Err(Error::new(ErrorKind::BrokenPipe, "it has no pipes"));
        };
        let (requests, pending) = channel::<Vec<u8>>();
        let (found, answers) = sync_channel(WAITING);
        let (closing, log_closed) = channel::<()>();
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&log);
        thread::Builder::new().name("worker input".into()).spawn(move || {
            for bytes in pending {
                // A program that reads no more says why by ending, which the reader sees.
                if input.write_all(&bytes).and_then(|()| input.flush()).is_err() {
                    break;
                }
            }
        })?;
        thread::Builder::new()
            .name("worker output".into())
            .spawn(move || read_answers(BufReader::new(output), answer, &found))?;
        thread::Builder::new().name("worker errors".into()).spawn(move || {
            read_log(BufReader::new(errors), &kept);
            drop(closing);
        })?;
        Ok(Self { requests, answers, log, log_closed })
    }

    /// Hands bytes to the writing thread.
    pub(super) fn send(&self, bytes: Vec<u8>) {
        // It fails where the program has closed its input; then no answer comes, which is reported.
        let _ = self.requests.send(bytes);
    }

    /// The last lines of the standard error so far.
    pub(super) fn log_now(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }

    /// The last lines of the standard error when the program has closed it, or after this time.
    pub(super) fn log_at_end(&self, limit: Duration) -> String {
        match self.log_closed.recv_timeout(limit) {
            Ok(()) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {
                self.log_now()
            }
        }
    }
}

fn read_answers(mut output: impl BufRead, answer: Option<usize>, found: &SyncSender<Received>) {
    loop {
        let mut bytes = Vec::new();
        let read = match answer {
            None => output.by_ref().take(LONGEST).read_until(b'\n', &mut bytes),
            Some(count) => output.by_ref().take(count as u64).read_to_end(&mut bytes),
        };
        let received = match read {
            // The end; a block that is cut off is no answer.
            Ok(0) => return,
            Ok(_) if answer.is_some_and(|count| bytes.len() < count) => return,
            Ok(_) => Received::Answer(bytes),
            Err(error) => Received::Failed(error.to_string()),
        };
        let last = matches!(received, Received::Failed(_));
        if found.send(received).is_err() || last {
            return;
        }
    }
}

fn read_log(mut errors: impl BufRead, log: &Mutex<VecDeque<String>>) {
    let mut bytes = Vec::new();
    while let Ok(1..) = errors.by_ref().take(LOGGED_LINE).read_until(b'\n', &mut bytes) {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOGGED {
            log.pop_front();
        }
        log.push_back(String::from_utf8_lossy(&bytes).trim_end().to_owned());
        bytes.clear();
    }
}
