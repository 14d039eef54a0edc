//! What one workload measured.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// What one client saw.
#[derive(Default, Debug)]
pub(super) struct Samples {
    /// How long each command took, in nanoseconds.
    latencies: Vec<u64>,
    /// Things done, if a command does another number of them than one.
    things: Option<u64>,
}

impl Samples {
    /// One command took so long.
    pub(super) fn add(&mut self, took: Duration) {
        self.latencies.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many commands.
    pub(super) fn count(&self) -> u64 {
        self.latencies.len() as u64
    }

    /// So many more things were done.
    pub(super) fn did(&mut self, things: u64) {
        *self.things.get_or_insert(0) += things;
    }

    /// With another client's.
    pub(super) fn join(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        if let Some(things) = other.things {
            self.did(things);
        }
    }
}

/// What a server used meanwhile.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Used {
    /// Processor time, in seconds.
    pub(super) cpu: f64,
    /// Processor time after the last answer, until it rested, in seconds.
    pub(super) cpu_later: f64,
    /// Octets that it had written to disk.
    pub(super) written: u64,
}

/// What one workload measured.
#[derive(Default, Debug)]
pub(super) struct Measured {
    pub(super) samples: Samples,
    /// From the first command to the last answer, in seconds.
    pub(super) seconds: f64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) used: Option<Used>,
    /// The server's memory in KiB, once the workload was over.
    pub(super) memory: Option<u64>,
    /// What else is worth knowing, by name.
    pub(super) details: Vec<(&'static str, f64)>,
}

impl Measured {
    /// How many things were done.
    pub(super) fn things(&self) -> u64 {
        self.samples.things.unwrap_or_else(|| self.samples.count())
    }

    /// With what another turn measured. Details are the mean of both.
    pub(super) fn join(&mut self, other: Self, turns: u32) {
        self.samples.join(other.samples);
        self.seconds += other.seconds;
        self.sent += other.sent;
        self.received += other.received;
        self.memory = other.memory.or(self.memory);
        if let (Some(used), Some(more)) = (&mut self.used, other.used) {
            used.cpu += more.cpu;
            used.cpu_later += more.cpu_later;
            used.written += more.written;
        }
        let turns = f64::from(turns);
        for ((_, value), (_, more)) in self.details.iter_mut().zip(other.details) {
            *value += (more - *value) / turns;
        }
    }

    /// The figures by name: times in µs, octets and processor time of each thing done.
    pub(super) fn figures(&self) -> Map<String, Value> {
        let things = self.things();
        let each = |sum: f64| sum / to_float(things.max(1));
        let mut sorted = self.samples.latencies.clone();
        sorted.sort_unstable();
        let at = |share: f64| percentile(&sorted, share) / 1e3;
        let mut figures = Map::new();
        let mut put = |name: &str, value: Value| figures.insert(name.to_owned(), value);
        put("operations", json!(things));
        put("commands", json!(self.samples.count()));
        put("seconds", json!(rounded(self.seconds)));
        put("per_second", json!(rounded(to_float(things) / self.seconds.max(1e-9))));
        put("median_us", json!(rounded(at(0.5))));
        put("p95_us", json!(rounded(at(0.95))));
        put("p99_us", json!(rounded(at(0.99))));
        put("max_us", json!(rounded(at(1.0))));
        put("sent", json!(rounded(each(to_float(self.sent)))));
        put("received", json!(rounded(each(to_float(self.received)))));
        if let Some(used) = self.used {
            put("cpu_us", json!(rounded(each(used.cpu * 1e6))));
            put("cpu_later_us", json!(rounded(each(used.cpu_later * 1e6))));
            put("written", json!(rounded(each(to_float(used.written)))));
        }
        if let Some(memory) = self.memory {
            put("memory_kib", json!(memory));
        }
        for (name, value) in &self.details {
            put(name, json!(rounded(*value)));
        }
        figures
    }
}

/// The value at this share of the sorted ones, the nearest rank.
fn percentile(sorted: &[u64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between nought and the number of samples"
    )]
    let rank = (to_float(sorted.len() as u64) * share).ceil() as usize;
    to_float(sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default())
}

#[expect(clippy::cast_precision_loss, reason = "figures for reading")]
pub(super) fn to_float(number: u64) -> f64 {
    number as f64
}

/// Four digits that count, as far as there are so many before the point.
fn rounded(value: f64) -> f64 {
    let scale = if value.abs() < 1.0 { 1e6 } else { 1e3 };
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<u64> = (1..=100).collect();
        let at = |share| percentile(&sorted, share);
        assert_eq!((at(0.5), at(0.95), at(0.99), at(1.0)), (50.0, 95.0, 99.0, 100.0));
        assert_eq!(percentile(&[], 0.5), 0.0);
        assert_eq!(percentile(&[7], 0.99), 7.0);
    }

    #[test]
    fn what_is_said_of_each_thing_counts_things_and_not_commands() {
        let mut samples = Samples::default();
        samples.add(Duration::from_micros(1000));
        samples.did(500);
        let used = Some(Used { cpu: 0.5, cpu_later: 0.0, written: 1000 });
        let measured = Measured { samples, seconds: 0.25, used, ..Measured::default() };
        let figures = measured.figures();
        assert_eq!(figures["cpu_us"], json!(1000.0));
        assert_eq!(figures["per_second"], json!(2000.0));
        assert_eq!(figures["written"], json!(2.0));
        assert_eq!(figures["commands"], json!(1));
    }
}
