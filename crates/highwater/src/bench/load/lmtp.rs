//! Mail that is delivered by LMTP, by several clients at once.
//!
//! # Standards
//! RFC 2033, RFC 5321 §4.5.2 (transparency), RFC 2920 (pipelining).

use std::collections::BTreeMap;
use std::time::Instant;

use client::Place;
use client::raw::Raw;
use futures_util::future::join_all;

use crate::bench::Failed;
use crate::bench::mail::message;
use crate::bench::scan::{after, text};
use crate::bench::stage::{Stage, equal};
use crate::bench::tally::{Measured, Samples};

/// Messages that are made before the clock runs.
const DIFFERENT: u64 = 16;

/// What INBOX was before: messages, and UIDNEXT.
type Before = BTreeMap<usize, (u64, u64)>;

/// Each client delivers to the INBOX of a user of its own, from which it is removed afterwards.
pub(super) async fn run(stage: &mut Stage) -> Result<Measured, Failed> {
    let Some(address) = stage.plan.lmtp.clone() else {
        return Err(Failed::lacks("address of LMTP: name it with --lmtp"));
    };
    stage.need("UIDPLUS")?;
    let place: Place = format!("imap://{address}/")
        .parse()
        .map_err(|_| Failed::wrong(format!("{address} is no address of LMTP: HOST:PORT")))?;
    let users = stage.plan.logins.len().min(stage.plan.clients);
    let before = inboxes(stage, users).await?;
    let delivered = deliver(stage, &place, users).await;
    let removed = remove(stage, &before).await;
    let measured = delivered?;
    equal("messages in all INBOXes after all deliveries", removed?, measured.samples.count())?;
    Ok(measured)
}

async fn deliver(stage: &Stage, place: &Place, users: usize) -> Result<Measured, Failed> {
    let messages: Vec<_> =
        (0..DIFFERENT).map(|number| stuffed(&message(number, stage.plan.octets))).collect();
    let mut lines = Vec::new();
    for _ in 0..stage.plan.clients {
        lines.push(greet(Raw::open(place, &stage.plan.options).await?).await?);
    }
    let running = stage.begin(&[]).await?;
    let until = Instant::now() + stage.plan.time;
    let clients = lines.iter_mut().enumerate().map(async |(client, raw)| {
        let login = stage.plan.logins.get(client % users.max(1));
        let to = login.map(|login| login.user.as_str()).unwrap_or_default();
        let mut samples = Samples::default();
        while Instant::now() < until {
            let at = usize::try_from(samples.count() % DIFFERENT).unwrap_or_default();
            let begun = Instant::now();
            one(raw, to, messages.get(at).map_or(&[][..], Vec::as_slice)).await?;
            samples.add(begun.elapsed());
        }
        Ok::<_, Failed>(samples)
    });
    let mut samples = Samples::default();
    for done in join_all(clients).await {
        samples.join(done?);
    }
    let mut measured = stage.end(running, &[], samples).await?;
    measured.sent = lines.iter().map(Raw::octets_sent).sum();
    measured.received = lines.iter().map(Raw::octets_received).sum();
    Ok(measured)
}

async fn greet(mut raw: Raw) -> Result<Raw, Failed> {
    reply(&mut raw, b"220").await?;
    raw.send(b"LHLO localhost\r\n").await?;
    reply(&mut raw, b"250").await?;
    Ok(raw)
}

async fn one(raw: &mut Raw, to: &str, message: &[u8]) -> Result<(), Failed> {
    let head = format!("MAIL FROM:<bench@example.org>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
    raw.send(head.as_bytes()).await?;
    for code in [b"250", b"250", b"354"] {
        reply(raw, code).await?;
    }
    raw.send(message).await?;
    reply(raw, b"250").await
}

/// Reads one reply, of one line or several, which must have this code.
async fn reply(raw: &mut Raw, code: &[u8]) -> Result<(), Failed> {
    loop {
        let line = raw.response().await?;
        if !line.starts_with(code) {
            return Err(Failed::wrong(format!("LMTP answers {}", text(line))));
        }
        if line.get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}

/// With its dots doubled where lines begin with them, and its end.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b".\r\n");
    out
}

async fn inboxes(stage: &Stage, users: usize) -> Result<Before, Failed> {
    let mut before = Before::new();
    for user in 0..users {
        let mut line = stage.line(user).await?;
        let (mut messages, mut next) = (None, None);
        line.must("STATUS INBOX (MESSAGES UIDNEXT)", |response| {
            messages = after(response, b"MESSAGES ").or(messages);
            next = after(response, b"UIDNEXT ").or(next);
            Ok(())
        })
        .await?;
        let (Some(messages), Some(next)) = (messages, next) else {
            return Err(Failed::wrong("STATUS of INBOX does not say MESSAGES and UIDNEXT"));
        };
        before.insert(user, (messages, next));
        line.log_out().await?;
    }
    Ok(before)
}

/// Removes what came since; how many messages that were.
async fn remove(stage: &Stage, before: &Before) -> Result<u64, Failed> {
    let mut sum = 0;
    for (user, (messages, next)) in before {
        let mut line = stage.line(*user).await?;
        let there = stage.count(&mut line, "INBOX").await?;
        if there > *messages {
            line.done("SELECT INBOX").await?;
            line.done(&format!("UID STORE {next}:* +FLAGS.SILENT (\\Deleted)")).await?;
            line.done(&format!("UID EXPUNGE {next}:*")).await?;
            sum += there - messages;
        }
        line.log_out().await?;
    }
    Ok(sum)
}
