//! One run of the handler: the message on its standard input, the rest in its environment.
//!
//! # Invariants
//! - What it writes is read to the end and not kept, but for the last few kilobytes.
//! - At its deadline it and all its children are asked to end (SIGTERM), and soon after made to (SIGKILL). The
//!   deadline moves while the lease is renewed.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// How much of what a handler writes is kept.
const TAIL_BYTES: usize = 2048;
/// How long one waits for output of children that outlive the handler.
const TIME_TO_DRAIN: Duration = Duration::from_millis(200);

/// Until when a handler may run, and why not longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Leash {
    /// Until then.
    Until(Instant),
    /// The job is somebody else's.
    Lost,
    /// The worker ends.
    Stop,
}

/// How a handler ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// By itself, with this code.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// It was ended at its deadline.
    Overdue,
    /// It was ended because the job was lost.
    Lost,
    /// It was ended because the worker ends.
    Stopped,
    /// It could not be started.
    NotStarted,
}

/// A run.
pub(super) struct Run {
    /// The program and its arguments.
    pub(super) command: Arc<[String]>,
    /// What is added to the environment.
    pub(super) environment: Vec<(&'static str, String)>,
    /// What stands on its standard input.
    pub(super) message: Vec<u8>,
    /// Until when it may run.
    pub(super) leash: watch::Receiver<Leash>,
    /// From SIGTERM to SIGKILL.
    pub(super) grace: Duration,
    /// Whether its output is the worker's standard error.
    pub(super) shown: bool,
}

impl Run {
    /// Runs it; answers how it ended and the end of what it wrote.
    pub(super) async fn go(self) -> (Ended, String) {
        let tail = Arc::new(Mutex::new(Tail::default()));
        let mut child = match self.start() {
            Ok(child) => child,
            Err(error) => return (Ended::NotStarted, error.to_string()),
        };
        let input = child.stdin.take();
        let message = self.message;
        let feeding = tokio::spawn(async move {
            if let Some(mut input) = input {
                // A handler need not read what it does not want.
                let _ = input.write_all(&message).await;
            }
        });
        let mut reading = tokio::task::JoinSet::new();
        child.stdout.take().map(|out| reading.spawn(read(out, Arc::clone(&tail))));
        child.stderr.take().map(|out| reading.spawn(read(out, Arc::clone(&tail))));
        let ended = watch_over(&mut child, self.leash, self.grace).await;
        feeding.abort();
        let drained = async { while reading.join_next().await.is_some() {} };
        // Children that were left behind may keep the pipe open.
        let _ = tokio::time::timeout(TIME_TO_DRAIN, drained).await;
        let text = tail.lock().unwrap_or_else(PoisonError::into_inner).text();
        (ended, text)
    }

    fn start(&self) -> std::io::Result<Child> {
        let (program, arguments) =
            self.command.split_first().ok_or(std::io::ErrorKind::NotFound)?;
        let output = || if self.shown { Stdio::from(std::io::stderr()) } else { Stdio::piped() };
        Command::new(program)
            .args(arguments)
            .env_remove("HIGHWATER_PASSWORD")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(output())
            .stderr(output())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// Waits for the end, and brings it about when it is time.
async fn watch_over(
    child: &mut Child,
    mut leash: watch::Receiver<Leash>,
    grace: Duration,
) -> Ended {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let why = loop {
        let now = *leash.borrow_and_update();
        let until = match now {
            Leash::Until(until) => tokio::time::Instant::from_std(until),
            Leash::Lost => break Ended::Lost,
            Leash::Stop => break Ended::Stopped,
        };
        tokio::select! {
            status = child.wait() => return of(status),
            () = tokio::time::sleep_until(until) => break Ended::Overdue,
            // Whoever holds the leash is gone only when the worker is.
            changed = leash.changed() => if changed.is_err() { break Ended::Stopped },
        }
    };
    signal(group, Signal::TERM);
    match tokio::time::timeout(grace, child.wait()).await {
        // It has finished in time after all.
        Ok(Ok(status)) if status.success() && why != Ended::Lost => return Ended::Exit(0),
        Ok(_) => {}
        Err(_) => {
            signal(group, Signal::KILL);
            let _ = child.wait().await;
        }
    }
    // Children that did not heed SIGTERM.
    signal(group, Signal::KILL);
    why
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // It may be gone already.
        let _ = kill_process_group(group, signal);
    }
}

fn of(status: std::io::Result<ExitStatus>) -> Ended {
    use std::os::unix::process::ExitStatusExt as _;
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exit(code),
            (None, signal) => Ended::Signal(signal.unwrap_or(0)),
        },
        Err(_) => Ended::NotStarted,
    }
}

async fn read(mut out: impl AsyncRead + Unpin, tail: Arc<Mutex<Tail>>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = out.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        let octets = buffer.get(..count).unwrap_or_default();
        tail.lock().unwrap_or_else(PoisonError::into_inner).add(octets);
    }
}

/// The end of what was written.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn add(&mut self, octets: &[u8]) {
        let from = octets.len().saturating_sub(TAIL_BYTES);
        self.0.extend_from_slice(octets.get(from..).unwrap_or_default());
        self.0.drain(..self.0.len().saturating_sub(TAIL_BYTES));
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_what_was_written_is_kept() {
        let mut tail = Tail::default();
        for _ in 0..100 {
            tail.add(&[b'a'; 50_000]);
            tail.add(b"the end");
            assert!(tail.0.capacity() < 8 * TAIL_BYTES);
        }
        assert_eq!(tail.text().len(), TAIL_BYTES);
        assert!(tail.text().ends_with("athe end"));
    }
}
