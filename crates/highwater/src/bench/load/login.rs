//! Connections that log in and leave again.

use std::time::Instant;

use crate::bench::Failed;
use crate::bench::stage::Stage;
use crate::bench::tally::{Measured, Samples};

/// Turns at least, whatever the time.
const TURNS_MIN: u64 = 20;

/// Connect, LOGIN, LOGOUT, one after another.
pub(super) async fn login(stage: &mut Stage) -> Result<Measured, Failed> {
    stage.line(0).await?.log_out().await?;
    let running = stage.begin(&[]).await?;
    let (mut samples, mut octets) = (Samples::default(), (0, 0));
    let began = Instant::now();
    while samples.count() < TURNS_MIN || began.elapsed() < stage.plan.time {
        let begun = Instant::now();
        let (sent, received) = stage.line(0).await?.log_out().await?;
        samples.add(begun.elapsed());
        octets = (octets.0 + sent, octets.1 + received);
    }
    let mut measured = stage.end(running, &[], samples).await?;
    (measured.sent, measured.received) = octets;
    Ok(measured)
}
