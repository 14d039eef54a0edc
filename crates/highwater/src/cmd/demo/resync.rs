//! The resync: a mailbox of many messages, ten changes, and what it costs to hear of them.

use std::time::Instant;

use anyhow::{Context as _, Result};
use client::imap::command::{AppendHead, CommandBody, MailboxName};
use client::imap::flag::{Flag, SystemFlag};
use client::imap::set::UidSet;
use client::mirror::Mirror;
use client::{Connection, NewMessage};

use super::{Reach, bar, grouped, line, must, seconds};

const MAILBOX: &str = "Archive";
/// Messages in one APPEND.
const BATCH: u32 = 1000;
const CHANGES: u32 = 10;

pub(super) async fn show(reach: &Reach, messages: u32) -> Result<()> {
    let begun = Instant::now();
    let mut writer = reach.connect().await?;
    fill(&mut writer, messages).await?;
    line(&format!(
        "Resync: a mailbox of {} messages ({}).",
        grouped(messages.into()),
        seconds(begun)
    ))?;
    let mut mirror = Mirror::new(MAILBOX);
    let first = catch_up(reach, &mut mirror).await?;
    line(&format!("  A client reads it for the first time: {first}."))?;
    change(&mut writer, messages).await?;
    line(&format!(
        "While it is away, {CHANGES} flags change and {CHANGES} messages are expunged."
    ))?;
    let again = catch_up(reach, &mut mirror).await?;
    line(&format!("  It comes back and has heard of all {}: {again}.", again.changes))?;
    must(again.changes == 2 * CHANGES, "the client hears of every change")?;
    must(mirror.reasons().is_empty(), "the client needs no fallback")?;
    must(
        mirror.messages().count() == (messages - CHANGES) as usize,
        "the mirror equals the mailbox",
    )
}

async fn fill(connection: &mut Connection, messages: u32) -> Result<()> {
    let mailbox = MailboxName(MAILBOX.into());
    connection.run(CommandBody::Create { mailbox, special_use: None }).await?;
    let octets = b"Subject: one of many\r\n\r\nHello.\r\n";
    let head = AppendHead { first: None, flags: Vec::new(), internal_date: None };
    let message = || NewMessage { head: head.clone(), octets };
    let bar = bar(messages, "messages");
    let mut left = messages;
    while left > 0 {
        let count = left.min(BATCH);
        let batch: Vec<NewMessage<'_>> = (0..count).map(|_| message()).collect();
        let ticket = connection.submit_append(MAILBOX, &batch)?;
        connection.answer(ticket).await?.ok()?;
        left -= count;
        bar.inc(u64::from(count));
    }
    bar.finish_and_clear();
    Ok(())
}

/// Ten flags and ten expunges, spread over the mailbox.
async fn change(connection: &mut Connection, messages: u32) -> Result<()> {
    connection.select(MAILBOX, false).await?;
    let spread = |offset: u32| {
        let step = messages / CHANGES;
        UidSet::from_ranges((0..CHANGES).map(|n| (n * step + offset, n * step + offset)))
    };
    connection.store(spread(1)).add(&[Flag::System(SystemFlag::Flagged)]).await?;
    connection.store(spread(2)).add(&[Flag::System(SystemFlag::Deleted)]).await?;
    connection.run(CommandBody::Expunge(None)).await?;
    Ok(())
}

/// What catching up took.
struct Cost {
    changes: u32,
    octets: u64,
    micros: u128,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let octets = grouped(self.octets);
        match self.micros {
            micros if micros < 1000 => write!(f, "{octets} octets, {micros} µs"),
            micros => write!(f, "{octets} octets, {}.{} ms", micros / 1000, micros % 1000 / 100),
        }
    }
}

/// Comes with a connection of its own, catches up, and keeps what was told.
async fn catch_up(reach: &Reach, mirror: &mut Mirror) -> Result<Cost> {
    let mut connection = reach.connect().await?;
    let (before, begun) = (connection.octets_received(), Instant::now());
    let delta = mirror.sync(&mut connection).await?;
    let micros = begun.elapsed().as_micros();
    let octets = connection.octets_received() - before;
    let changes = delta.changed.len() as u64 + delta.gone.len();
    let _ = delta.commit();
    connection.close().await;
    Ok(Cost { changes: u32::try_from(changes).context("too many changes")?, octets, micros })
}
