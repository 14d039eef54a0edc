//! `queue ls` and `queue stats`: what is in a queue.

use std::collections::BTreeMap;
use std::time::Instant;

use clap::Args;
use client::imap::number::{ModSeq, Uid};
use client::queue::{Footing, Job, OwnerCode, Queue, Standing};

use super::remote::Remote;
use super::units;
use crate::cmd::{Failure, say};

/// What this server's STORE is worth, in words.
pub(super) fn footing(footing: Footing) -> &'static str {
    match footing {
        Footing::Exact => "its conditional STORE has one winner",
        Footing::Proven => "each claim is proven by what the server shows afterwards",
        Footing::Marked => {
            "it has no mod-sequences, so claims are marked and read back, and nothing keeps a late worker from \
             acknowledging"
        }
    }
}

/// A state's name.
pub(super) fn name(standing: Standing) -> &'static str {
    match standing {
        Standing::Ready => "ready",
        Standing::Running => "running",
        Standing::Expired => "expired",
        Standing::Resting => "resting",
        Standing::Delayed => "delayed",
        Standing::Exhausted => "exhausted",
        Standing::Done => "done",
        Standing::Other => "other",
    }
}

/// The states that are counted.
const COUNTED: [Standing; 7] = [
    Standing::Ready,
    Standing::Delayed,
    Standing::Running,
    Standing::Expired,
    Standing::Resting,
    Standing::Exhausted,
    Standing::Done,
];

/// How many jobs are in which state.
pub(super) fn counts(queue: &Queue) -> Vec<(&'static str, usize)> {
    let now = Instant::now();
    let of = |standing| {
        let same = queue.view().jobs().filter(|job| queue.policy().standing(job, now) == standing);
        (name(standing), same.count())
    };
    COUNTED.into_iter().map(of).collect()
}

/// Which worker holds a job, if one does: by the codes of those that are registered.
pub(super) fn holders(queue: &Queue) -> BTreeMap<u16, Uid> {
    let workers = queue.workers();
    workers.map(|uid| (OwnerCode::of(uid.value()).bits(), uid)).collect()
}

/// `queue ls`
#[derive(Args, Debug)]
pub(crate) struct Ls {
    #[command(flatten)]
    remote: Remote,
    /// List so many at most.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Ls {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut queue = self.remote.door()?.loaded().await?;
        let is_job = |job: &Job| !job.marks.worker;
        let state = |queue: &Queue, job: &Job| name(queue.policy().standing(job, Instant::now()));
        list(&mut queue, is_job, self.limit, self.json, state).await?;
        queue.close().await;
        Ok(())
    }
}

/// Prints one line for each job.
pub(super) async fn list(
    queue: &mut Queue,
    which: impl Fn(&Job) -> bool,
    limit: usize,
    json: bool,
    state_of: impl Fn(&Queue, &Job) -> &'static str,
) -> Result<(), Failure> {
    let jobs: Vec<Job> =
        queue.view().jobs().filter(|job| which(job)).take(limit).cloned().collect();
    let holders = holders(queue);
    let now = queue.server_now();
    for chunk in jobs.chunks(500) {
        let uids: Vec<Uid> = chunk.iter().map(|job| job.uid).collect();
        let subjects = queue.headers(&uids, "Subject").await?;
        for job in chunk {
            let state = state_of(queue, job);
            let head = subjects.get(&job.uid).map(|head| String::from_utf8_lossy(head));
            let subject =
                head.as_deref().and_then(|head| head.split_once(':')).map_or("", |(_, s)| s);
            let subject = subject.trim();
            let holder = holders.get(&job.marks.owner).map(|uid| uid.value());
            let age = job.arrived.map(|date| now - date.unix);
            say(&if json {
                let value = serde_json::json!({
                    "uid": job.uid.value(),
                    "modseq": job.mod_seq.map(ModSeq::value),
                    "state": state,
                    "failed": job.marks.attempts,
                    "priority": job.marks.priority,
                    "worker": holder,
                    "age_seconds": age,
                    "subject": subject,
                });
                value.to_string()
            } else {
                let holder = holder.map(|uid| format!(" by worker {uid}")).unwrap_or_default();
                let failed = match job.marks.attempts {
                    0 => String::new(),
                    n => format!(", failed {n}×"),
                };
                let age = age.map(|age| format!(", {}", units::said(age))).unwrap_or_default();
                let subject: String = subject.chars().filter(|c| !c.is_control()).collect();
                format!("{:>6}  {state}{holder}{failed}{age}  {subject}", job.uid.value())
            })?;
        }
    }
    Ok(())
}

/// `queue stats`
#[derive(Args, Debug)]
pub(crate) struct Stats {
    #[command(flatten)]
    remote: Remote,
    /// Print one JSON object.
    #[arg(long, conflicts_with = "prometheus")]
    json: bool,
    /// Print what Prometheus reads, for its textfile collector.
    #[arg(long)]
    prometheus: bool,
}

impl Stats {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut queue = self.remote.door()?.loaded().await?;
        let dead = dead_count(&mut queue).await?;
        let mut counts = counts(&queue);
        counts.push(("dead", dead));
        let workers = queue.workers().count();
        let drained = queue.is_drained();
        let worth = footing(queue.footing());
        let waiting = queue
            .view()
            .jobs()
            .filter(|job| queue.policy().standing(job, Instant::now()) == Standing::Ready);
        let oldest = waiting.filter_map(|job| job.arrived).map(|date| date.unix).min();
        let oldest = oldest.map_or(0, |unix| (queue.server_now() - unix).max(0));
        queue.close().await;
        if self.json {
            let states: serde_json::Map<String, serde_json::Value> =
                counts.iter().map(|(name, count)| ((*name).to_owned(), (*count).into())).collect();
            let value = serde_json::json!({
                "jobs": states, "workers": workers, "drained": drained, "oldest_ready_seconds": oldest,
            });
            return say(&value.to_string());
        }
        if self.prometheus {
            let mut text = "# TYPE highwater_queue_jobs gauge\n".to_owned();
            for (name, count) in counts {
                text += &format!("highwater_queue_jobs{{state=\"{name}\"}} {count}\n");
            }
            text += &format!(
                "# TYPE highwater_queue_workers gauge\nhighwater_queue_workers {workers}\n\
                 # TYPE highwater_queue_drained gauge\nhighwater_queue_drained {}\n\
                 # TYPE highwater_queue_oldest_ready_seconds gauge\nhighwater_queue_oldest_ready_seconds {oldest}",
                u8::from(drained)
            );
            return say(&text);
        }
        for (name, count) in counts {
            say(&format!("{name:<10} {count}"))?;
        }
        say(&format!("workers    {workers}\noldest     {}", units::said(oldest)))?;
        if drained {
            say("drained: no job is claimed")?;
        }
        say(&format!("server     {worth}"))
    }
}

/// How many dead letters there are below this queue.
async fn dead_count(queue: &mut Queue) -> Result<usize, Failure> {
    use client::imap::command::{CommandBody, MailboxName, StatusItem};
    use client::imap::response::Response;
    let mailbox = MailboxName(queue.below("Dead").await?);
    let status = CommandBody::Status { mailbox, items: vec![StatusItem::Messages] };
    let answer = queue.connection().ask(status).await.map_err(anyhow::Error::from)?;
    let count = answer.untagged.iter().find_map(|response| match response {
        Response::MailboxStatus { items, .. } => items.first().and_then(|(_, count)| *count),
        _ => None,
    });
    Ok(count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0))
}
