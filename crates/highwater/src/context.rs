//! What all connections of a server share.

use std::sync::Arc;

use ipnet::IpNet;
use session::Shared;
use store::Store;
use tokio::sync::{broadcast, watch};
use tokio_rustls::TlsAcceptor;

use crate::config::Limits;
use crate::doors::Doors;
use crate::logins::{Eviction, Logins};
use crate::metrics::Metrics;

/// What all connections share.
pub(crate) struct Context {
    /// What all IMAP sessions share.
    pub(crate) shared: Arc<Shared>,
    /// Mail.
    pub(crate) store: Store,
    /// TLS for STARTTLS and IMAPS.
    pub(crate) tls: TlsAcceptor,
    /// How many may come in.
    pub(crate) doors: Doors,
    /// Who sends a PROXY header first.
    pub(crate) balancers: Vec<IpNet>,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// How much of anything.
    pub(crate) limits: Limits,
    /// Says whose connections are to end.
    pub(crate) evict: broadcast::Sender<Eviction>,
    /// Who is logged in.
    pub(crate) logins: Logins,
    /// Becomes true when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Context {
    /// Ready when the server stops.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that the sender is gone, which is an end as well.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Whether the server stops.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}
