//! `queue top`: a queue, watched. On a terminal one picture that changes; in a pipe one line each time.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use client::queue::Queue;

use super::remote::Remote;
use super::{show, units};
use crate::cmd::Failure;

/// `queue top`
#[derive(Args, Debug)]
pub(crate) struct Top {
    #[command(flatten)]
    remote: Remote,
    /// How often it is looked.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::some_duration)]
    interval: Duration,
    /// End after so many looks.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// What is seen at one time.
struct Look {
    counts: Vec<(&'static str, usize)>,
    come: usize,
    gone: usize,
    workers: Vec<(u32, usize)>,
    drained: bool,
}

const HOME: &str = "\x1b[H";
const CLEAR_REST: &str = "\x1b[J";
const CLEAR_LINE: &str = "\x1b[K";

impl Top {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut queue = self.remote.door()?.loaded().await?;
        let terminal = std::io::stdout().is_terminal();
        let mut before = uids(&queue);
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut interrupt =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        if terminal {
            draw("\x1b[2J")?;
        }
        while left > 0 {
            left -= 1;
            let now = uids(&queue);
            let look = look(&queue, &before, &now);
            before = now;
            let text = if terminal { picture(&look) } else { line(&look) + "\n" };
            if !draw(&text)? {
                break;
            }
            if left > 0 {
                tokio::select! {
                    () = tokio::time::sleep(self.interval) => {}
                    _ = interrupt.recv() => left = 0,
                }
                queue.refresh().await?;
            }
        }
        queue.close().await;
        Ok(())
    }
}

fn uids(queue: &Queue) -> BTreeSet<u32> {
    let jobs = queue.view().jobs().filter(|job| !job.marks.worker && !job.marks.done);
    jobs.map(|job| job.uid.value()).collect()
}

fn look(queue: &Queue, before: &BTreeSet<u32>, now: &BTreeSet<u32>) -> Look {
    let held = |bits: u16| {
        let jobs = queue.view().jobs();
        jobs.filter(|job| job.marks.owner == bits && !job.marks.done).count()
    };
    let holders = show::holders(queue).into_iter();
    Look {
        counts: show::counts(queue),
        come: now.difference(before).count(),
        gone: before.difference(now).count(),
        workers: holders.map(|(bits, uid)| (uid.value(), held(bits))).collect(),
        drained: queue.is_drained(),
    }
}

fn line(look: &Look) -> String {
    let counts = look.counts.iter().map(|(name, count)| format!("{name} {count}"));
    let counts = counts.collect::<Vec<_>>().join("  ");
    let Look { come, gone, workers, .. } = look;
    format!("{counts}  come {come}  gone {gone}  workers {}", workers.len())
}

fn picture(look: &Look) -> String {
    const WIDTH: usize = 40;
    let most = look.counts.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let mut lines = Vec::new();
    for (name, count) in &look.counts {
        lines.push(format!("{name:<10} {count:>7}  {}", "█".repeat(count * WIDTH / most)));
    }
    lines.push(format!("since the last look  +{} −{}", look.come, look.gone));
    if look.drained {
        lines.push("drained: no job is claimed".into());
    }
    lines.push(String::new());
    for (uid, held) in look.workers.iter().take(20) {
        lines.push(format!("worker {uid:<6} holds {held}"));
    }
    let lines = lines.iter().map(|line| format!("{line}{CLEAR_LINE}\r\n"));
    format!("{HOME}{}{CLEAR_REST}", lines.collect::<String>())
}

/// Answers whether anybody still reads it.
fn draw(text: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        written => Ok(written.map(|()| true)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_one_line_in_a_pipe_and_a_picture_on_a_terminal() {
        let counts = vec![("ready", 80), ("running", 2)];
        let look = Look { counts, come: 1, gone: 3, workers: vec![(9, 2)], drained: true };
        assert_eq!(line(&look), "ready 80  running 2  come 1  gone 3  workers 1");
        let picture = picture(&look);
        assert!(picture.starts_with(HOME) && picture.contains("drained"));
        assert!(picture.contains("worker 9      holds 2") && picture.contains(&"█".repeat(40)));
    }
}
