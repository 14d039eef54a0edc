//! What a worker counts.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::http::Source;

type Label = [(&'static str, &'static str); 1];

/// The counts of one worker.
#[derive(Debug, Default)]
pub(super) struct Counts {
    registry: Registry,
    jobs: Family<Label, Counter>,
    running: Gauge,
    connections: Counter,
}

impl Counts {
    /// All at zero.
    pub(super) fn new() -> Self {
        let mut counts = Self::default();
        let (jobs, running) = (counts.jobs.clone(), counts.running.clone());
        let registry = &mut counts.registry;
        registry.register("highwater_queue_worker_jobs", "Jobs by what became of them", jobs);
        registry.register("highwater_queue_worker_running", "Handlers that run", running);
        let connections = counts.connections.clone();
        registry.register("highwater_queue_worker_connections", "Connections made", connections);
        counts
    }

    /// One more job of which this became.
    pub(super) fn job(&self, what: &'static str) {
        self.jobs.get_or_create(&[("event", what)]).inc();
    }

    /// How many handlers run.
    pub(super) fn running(&self, count: usize) {
        self.running.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// One more connection.
    pub(super) fn connected(&self) {
        self.connections.inc();
    }
}

impl Source for Counts {
    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
