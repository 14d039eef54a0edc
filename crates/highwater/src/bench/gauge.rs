//! What a server's processes use, as the kernel counts it: processor time, memory, octets written.
//!
//! # Invariants
//! - All descendants of the named processes are counted, also those that came and went in between.
//! - Processor time is the kernel's own sum in nanoseconds for what lives, and in its ticks for what was reaped.

use std::collections::HashMap;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::ClockId;
use nix::unistd::Pid;

use super::Failed;
use super::tally::Used;

/// Between two looks at whether the server rests.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// It rests when it used less than this share of one processor between two looks.
const REST: f64 = 0.02;
/// How long it is waited for.
const REST_LOOKS_MAX: u32 = 600;
/// Ticks of `/proc/PID/stat` in a second, on every Linux (`USER_HZ`).
const TICKS: f64 = 100.0;

/// The processes of a server.
#[derive(Clone, Debug)]
pub(super) struct Gauge {
    roots: Vec<i32>,
}

/// A reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    cpu: f64,
    written: u64,
}

impl Gauge {
    /// These processes and their descendants; nothing for none.
    pub(super) fn new(roots: &[i32]) -> Result<Option<Self>, Failed> {
        if roots.is_empty() {
            return Ok(None);
        }
        let gauge = Self { roots: roots.to_vec() };
        for root in roots {
            if ClockId::pid_cpu_clock_id(Pid::from_raw(*root)).is_err() {
                return Err(Failed::wrong(format!("there is no process {root}")));
            }
        }
        gauge.memory()?;
        Ok(Some(gauge))
    }

    /// Processor time and octets written up to now.
    pub(super) fn read(&self) -> Result<Reading, Failed> {
        let mut reading = Reading { cpu: 0.0, written: 0 };
        for (pid, reaped) in self.family()? {
            // Whoever ended since the list was made is counted by its parent.
            if let Ok(time) = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).and_then(ClockId::now) {
                reading.cpu += seconds(time) + reaped;
            }
            let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
            let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
            reading.written += line.and_then(|number| number.parse().ok()).unwrap_or(0);
        }
        Ok(reading)
    }

    /// What was used since a reading, and until the server rested after that.
    pub(super) async fn since(&self, before: Reading) -> Result<Used, Failed> {
        let after = self.read()?;
        let rested = self.rest().await?;
        Ok(Used {
            cpu: after.cpu - before.cpu,
            cpu_later: rested.cpu - after.cpu,
            written: rested.written.saturating_sub(before.written),
        })
    }

    /// Waits until the server does nothing.
    pub(super) async fn rest(&self) -> Result<Reading, Failed> {
        let mut last = self.read()?;
        for _ in 0..REST_LOOKS_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.read()?;
            if now.cpu - last.cpu < REST * LOOK_EVERY.as_secs_f64() {
                return Ok(now);
            }
            last = now;
        }
        Ok(last)
    }

    /// The memory of all in KiB, what they share counted once: the sum of their proportional set sizes.
    pub(super) fn memory(&self) -> Result<u64, Failed> {
        let mut sum = 0;
        for (pid, _) in self.family()? {
            let path = format!("/proc/{pid}/smaps_rollup");
            let Ok(rollup) = std::fs::read_to_string(&path) else {
                if self.roots.contains(&pid) {
                    return Err(Failed::wrong(format!(
                        "{path} cannot be read: run as root or as its user"
                    )));
                }
                continue;
            };
            let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            let number = pss.and_then(|pss| pss.split_whitespace().next());
            sum += number.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(sum)
    }

    /// The roots and all their descendants, with the processor time in seconds of those that each has reaped.
    fn family(&self) -> Result<Vec<(i32, f64)>, Failed> {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        let mut reaped = HashMap::new();
        let list =
            std::fs::read_dir("/proc").map_err(|error| Failed::wrong(format!("/proc: {error}")))?;
        for entry in list.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if let Some((parent, ticks)) = parent_and_reaped(&stat) {
                children.entry(parent).or_default().push(pid);
                reaped.insert(pid, ticks / TICKS);
            }
        }
        let (mut family, mut open) = (Vec::new(), self.roots.clone());
        while let Some(pid) = open.pop() {
            let Some(time) = reaped.remove(&pid) else {
                if self.roots.contains(&pid) && !family.iter().any(|(known, _)| *known == pid) {
                    return Err(Failed::wrong(format!("the server's process {pid} has ended")));
                }
                continue;
            };
            family.push((pid, time));
            open.extend(children.remove(&pid).unwrap_or_default());
        }
        Ok(family)
    }
}

/// The parent, and the ticks of reaped children (proc_pid_stat(5), fields 4, 16 and 17).
fn parent_and_reaped(stat: &str) -> Option<(i32, f64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((fields.get(1)?.parse().ok()?, number(13)? + number(14)?))
}

fn seconds(time: TimeSpec) -> f64 {
    Duration::from(time).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        let stat = "7 (a) b) S 3 1 1 0 -1 0 0 0 0 0 11 12 13 14 20 0 1 0 5";
        assert_eq!(parent_and_reaped(stat), Some((3, 27.0)));
        assert_eq!(parent_and_reaped("7 (cut"), None);
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        let own = i32::try_from(std::process::id()).unwrap();
        let gauge = Gauge::new(&[own]).unwrap().unwrap();
        let before = gauge.read().unwrap();
        let mut sum = 0_u64;
        while gauge.read().unwrap().cpu <= before.cpu {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(gauge.memory().unwrap() > 0);
        assert!(Gauge::new(&[]).unwrap().is_none());
        assert!(Gauge::new(&[i32::MAX]).is_err());
    }
}
