//! Messages that are copied, moved and expunged by the thousand.
//!
//! # Standards
//! RFC 3501 §6.4.3 and §6.4.7, RFC 6851 (MOVE).

use std::time::Instant;

use crate::bench::Failed;
use crate::bench::line::Line;
use crate::bench::scan::numbered;
use crate::bench::stage::{Filled, Stage, equal};
use crate::bench::tally::{Measured, Samples};

/// What is done with them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Copy,
    Move,
    Expunge,
}

impl How {
    /// Mailboxes of each are called otherwise: one server cannot remove two of the same name within a second.
    fn name(self, what: &str) -> String {
        let how = match self {
            Self::Copy => "copy",
            Self::Move => "move",
            Self::Expunge => "expunge",
        };
        format!("{how}-{what}")
    }
}

/// All messages of the middle mailbox, or of a copy of it, by one command.
pub(super) async fn run(stage: &mut Stage, how: How) -> Result<Measured, Failed> {
    if how == How::Move {
        stage.need("MOVE")?;
    }
    let middle = stage.middle().await?;
    let mut made = Vec::new();
    let mut lines = stage.lines(1).await?;
    let mut source = middle.clone();
    if how != How::Copy {
        source.name = stage.make(0, &how.name("source")).await?;
        made.push(source.name.clone());
        for line in &mut lines {
            stage.select(line, &middle).await?;
            line.done(&format!("COPY 1:* {}", source.name)).await?;
        }
    }
    let target = Filled { name: stage.make(0, &how.name("target")).await?, count: middle.count };
    made.push(target.name.clone());
    for line in &mut lines {
        stage.select(line, &source).await?;
        if how == How::Expunge {
            line.done("STORE 1:* +FLAGS.SILENT (\\Deleted)").await?;
        }
    }
    let running = stage.begin(&lines).await?;
    let mut samples = Samples::default();
    for line in &mut lines {
        let begun = Instant::now();
        samples.did(middle.count);
        let gone = obey(line, how, &target.name).await?;
        samples.add(begun.elapsed());
        equal(
            "messages that are told to be gone",
            gone,
            if how == How::Copy { 0 } else { middle.count },
        )?;
    }
    let measured = stage.end(running, &lines, samples).await?;
    for line in &mut lines {
        let there = stage.count(line, &target.name).await?;
        equal("messages in the target", there, if how == How::Expunge { 0 } else { middle.count })?;
    }
    stage.close(lines).await?;
    let mut line = stage.line(0).await?;
    let left = stage.count(&mut line, &source.name).await?;
    line.log_out().await?;
    equal("messages in the source", left, if how == How::Copy { middle.count } else { 0 })?;
    for name in made {
        stage.remove(0, &name).await?;
    }
    Ok(measured)
}

/// The command; how many messages it says are gone.
async fn obey(line: &mut Line, how: How, target: &str) -> Result<u64, Failed> {
    let command = match how {
        How::Copy => format!("COPY 1:* {target}"),
        How::Move => format!("MOVE 1:* {target}"),
        How::Expunge => "EXPUNGE".to_owned(),
    };
    let mut gone = 0;
    line.must(&command, |response| {
        gone += u64::from(numbered(response, b"EXPUNGE").is_some());
        Ok(())
    })
    .await?;
    Ok(gone)
}
