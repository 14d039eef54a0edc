//! Many mailboxes: made, listed, listed with their status.
//!
//! # Standards
//! RFC 3501 §6.3.3 and §6.3.8, RFC 5819 (LIST-STATUS).

use std::time::Instant;

use crate::bench::Failed;
use crate::bench::line::{Line, quoted};
use crate::bench::scan::has;
use crate::bench::stage::{Stage, equal};
use crate::bench::tally::{Measured, Samples};

/// What is done with them.
#[derive(Clone, Copy)]
pub(super) enum What {
    Create,
    List,
    ListStatus,
}

const PARENT: &str = "many";

/// Does it.
pub(super) async fn run(stage: &mut Stage, what: What) -> Result<Measured, Failed> {
    match what {
        What::Create => create(stage).await,
        What::List => list(stage, false).await,
        What::ListStatus => list(stage, true).await,
    }
}

async fn create(stage: &mut Stage) -> Result<Measured, Failed> {
    if stage.has_many {
        remove_all(stage).await?;
    }
    let mut lines = stage.lines(1).await?;
    let running = stage.begin(&lines).await?;
    let mut samples = Samples::default();
    for line in &mut lines {
        make_all(stage, line, &mut samples).await?;
    }
    let measured = stage.end(running, &lines, samples).await?;
    stage.close(lines).await?;
    Ok(measured)
}

async fn make_all(stage: &mut Stage, line: &mut Line, samples: &mut Samples) -> Result<(), Failed> {
    let parent = stage.name(PARENT);
    stage.will_make(parent.clone());
    stage.has_many = true;
    line.done(&format!("CREATE {parent}")).await?;
    for number in 0..stage.plan.mailboxes {
        let name = child(stage, &number.to_string());
        stage.will_make(name.clone());
        let begun = Instant::now();
        line.done(&format!("CREATE {name}")).await?;
        samples.add(begun.elapsed());
    }
    Ok(())
}

async fn remove_all(stage: &mut Stage) -> Result<(), Failed> {
    let parent = stage.name(PARENT);
    let mut line = stage.line(0).await?;
    for number in 0..stage.plan.mailboxes {
        line.done(&format!("DELETE {}", child(stage, &number.to_string()))).await?;
    }
    line.done(&format!("DELETE {parent}")).await?;
    line.log_out().await?;
    stage.forget(parent.trim_end_matches('"'));
    stage.has_many = false;
    Ok(())
}

async fn list(stage: &mut Stage, with_status: bool) -> Result<Measured, Failed> {
    if with_status {
        stage.need("LIST-STATUS")?;
    }
    let mut line = stage.line(0).await?;
    if !stage.has_many {
        make_all(stage, &mut line, &mut Samples::default()).await?;
    }
    let more = if with_status { " RETURN (STATUS (MESSAGES UNSEEN))" } else { "" };
    let command = format!("LIST \"\" {}{more}", child(stage, "%"));
    let right = stage.plan.mailboxes;
    let measured = stage
        .repeat(&mut line, async |line, _| {
            let (mut listed, mut told) = (0, 0);
            line.must(&command, |response| {
                listed += u64::from(response.starts_with(b"* LIST ("));
                let empty =
                    response.starts_with(b"* STATUS ") && has(response, b"(MESSAGES 0 UNSEEN 0)");
                told += u64::from(empty);
                Ok(())
            })
            .await?;
            equal("mailboxes by LIST", listed, right)?;
            equal("mailboxes by STATUS", told, if with_status { right } else { 0 })?;
            Ok(right)
        })
        .await?;
    line.log_out().await?;
    Ok(measured)
}

fn child(stage: &Stage, name: &str) -> String {
    quoted(&format!("{}{}{name}", stage.plain_name(PARENT), stage.delimiter))
}
