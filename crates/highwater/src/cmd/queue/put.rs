//! `queue put`: jobs from files, lines or standard input.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::Args;
use client::imap::number::Uid;
use client::queue::{NewJob, Policy, message};

use super::remote::Remote;
use crate::cmd::{Failure, say, tell};

/// `queue put`
#[derive(Args, Debug)]
pub(crate) struct Put {
    #[command(flatten)]
    remote: Remote,
    /// One job for each file; standard input when none is named.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// One job for each line.
    #[arg(long)]
    lines: bool,
    /// They are whole messages already, with headers.
    #[arg(long, conflicts_with = "lines")]
    raw: bool,
    /// The subject.
    #[arg(long, default_value = "job", conflicts_with = "raw")]
    subject: String,
    /// Not before so long from now.
    #[arg(long, value_name = "TIME", value_parser = super::units::duration)]
    delay: Option<Duration>,
    /// 0 to 3, three the most urgent.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=3))]
    priority: u8,
    /// Do not put it while a job with this key waits or runs.
    #[arg(long, conflicts_with_all = ["lines", "raw"])]
    key: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Put {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut bodies = Vec::new();
        for file in &self.files {
            let read = std::fs::read(file);
            bodies.push(read.with_context(|| format!("{} cannot be read", file.display()))?);
        }
        if self.files.is_empty() {
            let mut body = Vec::new();
            std::io::stdin().lock().read_to_end(&mut body)?;
            bodies.push(body);
        }
        let mut queue = self.remote.door()?.open(Policy::default()).await?;
        if let Some(key) = &self.key
            && let Some(uid) = queue.with_key(key).await?.first()
        {
            tell(&format!("nothing put: job {uid} has this key already"));
            queue.close().await;
            return self.report(&[], 0);
        }
        let jobs: Vec<NewJob> = bodies.iter().flat_map(|body| self.jobs(body)).collect();
        let uids = queue.put(&jobs).await?;
        queue.close().await;
        let uids: Vec<u32> = uids.into_iter().map(Uid::value).collect();
        self.report(&uids, jobs.len())
    }

    fn report(&self, uids: &[u32], count: usize) -> Result<(), Failure> {
        if self.json {
            return say(&serde_json::json!({ "put": count, "uids": uids }).to_string());
        }
        match uids {
            [one] => say(&format!("put job {one}")),
            _ => say(&format!("put {count} jobs")),
        }
    }

    fn jobs(&self, body: &[u8]) -> Vec<NewJob> {
        if self.raw {
            return vec![self.job(body.to_vec())];
        }
        let wrapped = |body: &[u8]| self.job(message(&self.subject, self.key.as_deref(), body));
        if self.lines {
            let lines = body.split_inclusive(|b| *b == b'\n').filter(|line| *line != b"\n");
            return lines.map(wrapped).collect();
        }
        vec![wrapped(body)]
    }

    fn job(&self, octets: Vec<u8>) -> NewJob {
        let due = self.delay.map(|delay| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            i64::try_from(now.saturating_add(delay).as_secs()).unwrap_or(i64::MAX)
        });
        NewJob { octets, priority: self.priority, due }
    }
}
