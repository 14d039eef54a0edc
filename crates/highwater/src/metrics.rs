//! What the server counts and measures, for Prometheus.
//!
//! # Invariants
//! - No label holds anything a client chose: names of commands are the program's own.

use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use session::{Event, Observer, Status};
use store::BatchReport;

use crate::http::Source;

/// A way in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub(crate) enum Protocol {
    /// IMAP with STARTTLS.
    Imap,
    /// IMAP over TLS.
    Imaps,
    /// LMTP.
    Lmtp,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Connection {
    protocol: Protocol,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Command {
    name: &'static str,
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct CommandName {
    name: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Delivery {
    result: &'static str,
}

/// All metrics.
pub(crate) struct Metrics {
    started: Instant,
    registry: Registry,
    open: Family<Connection, Gauge>,
    accepted: Family<Connection, Counter>,
    refused: Family<Connection, Counter>,
    commands: Family<Command, Counter>,
    command_seconds: Family<CommandName, Histogram>,
    batch_changes: Histogram,
    sync_seconds: Histogram,
    deliveries: Family<Delivery, Counter>,
    conflicts: Counter,
    resync_fallbacks: Counter,
    mod_seqs_from_the_future: Counter,
    lagging_views: Counter,
    login_failures: Counter,
    bad_commands: Counter,
}

/// From 50 µs to 26 s.
fn seconds() -> Histogram {
    Histogram::new((0..20).map(|power| 0.000_05 * f64::from(1 << power)))
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            started: Instant::now(),
            registry: Registry::with_prefix("highwater"),
            open: Family::default(),
            accepted: Family::default(),
            refused: Family::default(),
            commands: Family::default(),
            command_seconds: Family::new_with_constructor(seconds),
            batch_changes: Histogram::new((0..12).map(|power| f64::from(1 << power))),
            sync_seconds: seconds(),
            deliveries: Family::default(),
            conflicts: Counter::default(),
            resync_fallbacks: Counter::default(),
            mod_seqs_from_the_future: Counter::default(),
            lagging_views: Counter::default(),
            login_failures: Counter::default(),
            bad_commands: Counter::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("connections", "Connections open now", self.open.clone());
        r.register("connections_accepted", "Connections taken", self.accepted.clone());
        r.register("connections_refused", "Connections over a limit", self.refused.clone());
        r.register("commands", "IMAP commands by name and tagged answer", self.commands.clone());
        r.register(
            "command_seconds",
            "Time from a command to its tagged answer",
            self.command_seconds.clone(),
        );
        r.register("batch_changes", "Changes in one commit", self.batch_changes.clone());
        r.register("batch_sync_seconds", "Time of one durable commit", self.sync_seconds.clone());
        r.register(
            "deliveries",
            "LMTP deliveries by recipient and result",
            self.deliveries.clone(),
        );
        r.register("conflicts", "Conditional STOREs answered MODIFIED", self.conflicts.clone());
        r.register(
            "resync_fallbacks",
            "Resyncs that took the protocol's fallback",
            self.resync_fallbacks.clone(),
        );
        r.register(
            "modseqs_from_the_future",
            "Mod-sequences above HIGHESTMODSEQ named by clients",
            self.mod_seqs_from_the_future.clone(),
        );
        r.register("lagging_views_closed", "Views closed for lagging", self.lagging_views.clone());
        r.register("login_failures", "Logins refused", self.login_failures.clone());
        r.register("bad_commands", "Commands not understood", self.bad_commands.clone());
    }

    /// A connection was taken; it is open until [`Self::closed`].
    pub(crate) fn opened(&self, protocol: Protocol) {
        self.accepted.get_or_create(&Connection { protocol }).inc();
        self.open.get_or_create(&Connection { protocol }).inc();
    }

    /// A connection ended.
    pub(crate) fn closed(&self, protocol: Protocol) {
        self.open.get_or_create(&Connection { protocol }).dec();
    }

    /// A connection was over a limit.
    pub(crate) fn refused(&self, protocol: Protocol) {
        self.refused.get_or_create(&Connection { protocol }).inc();
    }

    /// A message was delivered to a recipient, or was not.
    pub(crate) fn delivery(&self, result: &'static str) {
        self.deliveries.get_or_create(&Delivery { result }).inc();
    }

    /// A batch became durable.
    pub(crate) fn batch(&self, report: BatchReport) {
        let changes = u32::try_from(report.changes).unwrap_or(u32::MAX);
        self.batch_changes.observe(f64::from(changes));
        self.sync_seconds.observe(report.took.as_secs_f64());
    }
}

impl Source for Metrics {
    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Observer for Metrics {
    fn now_nanos(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn command(&self, name: &'static str, status: Status, nanos: u64) {
        let result = match status {
            Status::Ok | Status::PreAuth => "ok",
            Status::No => "no",
            Status::Bad => "bad",
            Status::Bye => "bye",
        };
        self.commands.get_or_create(&Command { name, result }).inc();
        let took = Duration::from_nanos(nanos).as_secs_f64();
        self.command_seconds.get_or_create(&CommandName { name }).observe(took);
    }

    fn count(&self, what: Event) {
        match what {
            Event::Conflict => self.conflicts.inc(),
            Event::ResyncFallback => self.resync_fallbacks.inc(),
            Event::ModSeqFromTheFuture => self.mod_seqs_from_the_future.inc(),
            Event::LaggingViewClosed => self.lagging_views.inc(),
            Event::LoginFailed => self.login_failures.inc(),
            Event::BadCommand => self.bad_commands.inc(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.opened(Protocol::Imap);
        metrics.command("STORE", Status::No, 1_000_000);
        metrics.count(Event::Conflict);
        metrics.batch(BatchReport { changes: 3, took: Duration::from_millis(2) });
        let text = metrics.text().unwrap();
        for line in [
            "highwater_connections{protocol=\"Imap\"} 1",
            "highwater_commands_total{name=\"STORE\",result=\"no\"} 1",
            "highwater_conflicts_total 1",
            "highwater_batch_changes_sum 3.0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
