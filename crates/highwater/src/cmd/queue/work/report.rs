//! What a worker says: lines for people on standard error, or JSON for programs on standard output; and its counts.

use std::fmt::Display;
use std::sync::Arc;

use client::imap::number::{ModSeq, Uid};
use client::queue::{Claim, Queue};
use serde_json::{Value, json};

use super::super::handler::Ended;
use super::super::metrics::Counts;
use super::super::show;
use crate::cmd::{say, tell};

/// See the module.
pub(super) struct Reporter {
    json: bool,
    counts: Arc<Counts>,
    worker: u32,
    /// What was said of a connection that does not come back, once.
    away: Option<String>,
}

impl Reporter {
    pub(super) fn new(json: bool, counts: Arc<Counts>) -> Self {
        Self { json, counts, worker: 0, away: None }
    }

    fn event(&self, name: &str, mut fields: Value, text: &str) {
        if !self.json {
            return tell(text);
        }
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("event".into(), name.into());
            fields.insert("worker".into(), self.worker.into());
        }
        // Whoever reads the events may have gone; the jobs go on.
        let _ = say(&fields.to_string());
    }

    fn job(&self, name: &'static str, claim: &Claim, more: &[(&str, Value)], text: &str) {
        self.counts.job(name);
        let mut fields = json!({
            "uid": claim.token.uid.value(),
            "uidvalidity": claim.token.uid_validity.value(),
            "modseq": claim.token.mod_seq.map(ModSeq::value),
            "attempt": claim.attempts + 1,
        });
        if let Some(fields) = fields.as_object_mut() {
            fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        self.event(name, fields, &format!("job {}: {text}", claim.token.uid));
    }

    pub(super) fn registered(&mut self, uid: Uid, queue: &Queue) {
        self.worker = uid.value();
        self.away = None;
        self.counts.connected();
        let worth = show::footing(queue.footing());
        self.event("registered", json!({}), &format!("worker {uid} is registered; {worth}"));
    }

    pub(super) fn claimed(&self, claim: &Claim) {
        let how = if claim.taken_over { "taken over" } else { "claimed" };
        let more = [("taken_over", claim.taken_over.into())];
        self.job("claimed", claim, &more, &format!("{how}, attempt {}", claim.attempts + 1));
    }

    pub(super) fn finished(&self, claim: &Claim, ended: Ended, output: &str) {
        let more = [("how", why(ended, "").into()), ("output", output.into())];
        if self.json {
            self.job("finished", claim, &more, "");
        }
    }

    pub(super) fn settled(&self, name: &'static str, claim: &Claim, why: &str) {
        let text = if why.is_empty() { name.to_owned() } else { format!("{name}: {why}") };
        self.job(name, claim, &[("why", why.into())], &text);
    }

    pub(super) fn lost(&self, claim: &Claim, why: &str) {
        self.job(
            "lost",
            claim,
            &[("why", why.into())],
            &format!("lost, its result is discarded: {why}"),
        );
    }

    pub(super) fn given_back(&self, count: usize) {
        let text = format!("{count} jobs with this worker's mark were given back");
        self.event("given_back", json!({ "count": count }), &text);
    }

    /// The queue could not be opened yet.
    pub(super) fn not_begun(&mut self, why: &dyn Display) {
        self.gone("not begun yet, trying again", why);
    }

    pub(super) fn disconnected(&mut self, why: &dyn Display) {
        self.gone("disconnected", why);
    }

    fn gone(&mut self, what: &str, why: &dyn Display) {
        let why = why.to_string();
        if self.away.as_ref() != Some(&why) {
            self.event("disconnected", json!({ "why": why }), &format!("{what}: {why}"));
            self.away = Some(why);
        }
    }

    pub(super) fn resumed(&mut self, same: bool) {
        self.away = None;
        self.counts.connected();
        let text =
            if same { "connected anew" } else { "connected anew; the mailbox was made anew" };
        self.event("resumed", json!({ "same": same }), text);
    }

    pub(super) fn running(&self, count: usize) {
        self.counts.running(count);
    }

    pub(super) fn stopped(&self) {
        self.event("stopped", json!({}), "stopped");
    }
}

/// Why a job was not done, in words.
pub(super) fn why(ended: Ended, output: &str) -> String {
    let how = match ended {
        Ended::Exit(0) => return String::new(),
        Ended::Exit(code) => format!("the handler ended with {code}"),
        Ended::Signal(signal) => format!("the handler was ended by signal {signal}"),
        Ended::Overdue => "the handler took too long and was ended".into(),
        Ended::Lost => "the lease was lost".into(),
        Ended::Stopped => "the worker stops".into(),
        Ended::NotStarted => "the handler cannot be started".into(),
    };
    match output.lines().last() {
        Some(last) => format!("{how}: {last}"),
        None => how,
    }
}
