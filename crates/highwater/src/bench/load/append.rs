//! Messages that are appended: one by one by several clients, or many at once.

use crate::bench::Failed;
use crate::bench::line::{Line, refused};
use crate::bench::mail::message;
use crate::bench::stage::{Filled, Stage, equal};
use crate::bench::tally::{Measured, Samples, to_float};

/// Messages that are made before the clock runs; they come again after that.
const DIFFERENT: u64 = 64;

/// Each client to a mailbox of its own.
pub(super) async fn own(stage: &mut Stage) -> Result<Measured, Failed> {
    let mut names = Vec::new();
    for client in 0..stage.plan.clients {
        names.push((client, stage.make(client, &format!("own-{client}")).await?));
    }
    let measured = append(stage, &names).await?;
    for (client, name) in &names {
        stage.remove(*client, name).await?;
    }
    Ok(measured)
}

/// All clients, as the same user, to one mailbox.
pub(super) async fn one(stage: &mut Stage) -> Result<Measured, Failed> {
    let name = stage.make(0, "one").await?;
    let names = vec![(0, name.clone()); stage.plan.clients];
    let measured = append(stage, &names).await?;
    stage.remove(0, &name).await?;
    Ok(measured)
}

async fn append(stage: &mut Stage, names: &[(usize, String)]) -> Result<Measured, Failed> {
    let messages: Vec<_> =
        (0..DIFFERENT).map(|number| message(number, stage.plan.octets)).collect();
    let plus = stage.has("LITERAL+");
    let mut lines = Vec::new();
    for (user, _) in names {
        lines.push(stage.line(*user).await?);
    }
    let mut measured = stage
        .together(&mut lines, async |client, line, turn| {
            let at = usize::try_from((turn * 7 + client as u64) % DIFFERENT).unwrap_or_default();
            let (name, message) = (names.get(client), messages.get(at));
            let (Some((_, name)), Some(message)) = (name, message) else { return Ok(()) };
            append_one(line, name, message, plus).await
        })
        .await?;
    stage.close(lines).await?;
    let mut different = names.to_vec();
    different.dedup();
    let mut there = 0;
    for (user, name) in &different {
        let mut line = stage.line(*user).await?;
        there += stage.count(&mut line, name).await?;
        line.log_out().await?;
    }
    equal("messages after all APPENDs", there, measured.samples.count())?;
    if let Some(used) = measured.used {
        let put = to_float(measured.things()) * to_float(stage.plan.octets as u64);
        measured.details.push(("write_amplification", to_float(used.written) / put));
    }
    Ok(measured)
}

/// One message, in one write where the server allows.
pub(super) async fn append_one(
    line: &mut Line,
    name: &str,
    message: &[u8],
    plus: bool,
) -> Result<(), Failed> {
    let tag = line.tag();
    let sign = if plus { "+" } else { "" };
    let mut out = format!("{tag} APPEND {name} () {{{}{sign}}}\r\n", message.len()).into_bytes();
    if !plus {
        line.raw.send(&out).await?;
        line.continuation().await?;
        out.clear();
    }
    out.extend_from_slice(message);
    out.extend_from_slice(b"\r\n");
    line.raw.send(&out).await?;
    match line.answer(&tag, |_| Ok(())).await? {
        (true, _) => Ok(()),
        (false, answer) => Err(refused("APPEND", &answer)),
    }
}

/// The large mailbox, which stays; one that there was goes.
pub(super) async fn fill(stage: &mut Stage) -> Result<Measured, Failed> {
    let fresh = stage.name("large");
    if stage.has_made(&fresh) {
        stage.remove(0, &fresh).await?;
    }
    let name = stage.make(0, "large").await?;
    let mut lines = stage.lines(1).await?;
    let mut samples = Samples::default();
    let running = stage.begin(&lines).await?;
    for line in &mut lines {
        stage.fill(line, &name, stage.plan.messages, &mut samples).await?;
    }
    let measured = stage.end(running, &lines, samples).await?;
    stage.close(lines).await?;
    stage.set_large(Filled { name, count: stage.plan.messages });
    Ok(measured)
}
