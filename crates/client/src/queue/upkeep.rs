//! What every worker does now and then for the queue: show that it lives, and clear away what others left behind.

use super::worker::is_registration;
use super::{
    Claim, Footing, Job, Outcome, Policy, Queue, Settle, Settled, Standing, Token, set_of,
};
use crate::store::{sequence, store};
use imap::command::StoreAction;
use imap::flag::{Flag, SystemFlag};
use imap::number::{ModSeq, ModSeqOrZero, Uid};
use imap::set::UidSet;
use std::time::Instant;

/// After how many leases without a sign of life a registration is cleared away.
const REGISTRATION_LEASES: u32 = 10;

impl Queue {
    /// To be called each third of a lease. Answers the jobs that carry this worker's mark without its knowing and
    /// were given back.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn upkeep(&mut self) -> Outcome<usize> {
        self.refresh().await?;
        if self.registration.is_some() {
            self.confirm_registration().await?;
            if let Some(beat) = self.submit_beat()? {
                self.answer(beat).await?;
            }
        }
        self.clear_done().await?;
        self.clear_registrations().await?;
        self.give_back_strays().await
    }

    /// Removes what was acknowledged by somebody who could not do so any more.
    async fn clear_done(&mut self) -> Outcome<()> {
        let (now, lease) = (Instant::now(), self.policy.lease);
        let (mut deleted, mut kept) = (UidSet::new(), UidSet::new());
        for job in self.view.jobs() {
            let old = now.saturating_duration_since(job.since) >= lease;
            if old && self.policy.standing(job, now) == Standing::Done {
                if job.marks.deleted { &mut deleted } else { &mut kept }.push(job.uid.value());
            }
        }
        self.expunge(&deleted).await?;
        match self.archive.clone() {
            Some(archive) => self.relocate(&kept, &archive).await,
            None => Ok(()),
        }
    }

    async fn clear_registrations(&mut self) -> Outcome<()> {
        let (now, old) = (Instant::now(), self.policy.lease * REGISTRATION_LEASES);
        let own = self.worker.map(|worker| worker.uid);
        let stale = self.view.jobs().filter(|job| {
            let silent = now.saturating_duration_since(job.since) >= old;
            silent && is_registration(&job.marks) && Some(job.uid) != own
        });
        let stale: Vec<(Uid, Option<ModSeq>)> = stale.map(|job| (job.uid, job.mod_seq)).collect();
        let deleted = [Flag::System(SystemFlag::Deleted)];
        let mut uids = UidSet::new();
        for (uid, mod_seq) in stale {
            let Some(set) = sequence(&UidSet::one(uid)) else { continue };
            let since = mod_seq.filter(|_| self.footing != Footing::Marked).map(ModSeqOrZero::from);
            let answer = self.ask(store(set, since, StoreAction::Add, &deleted)).await?;
            // One that shows life at this very moment is named in MODIFIED, and stays.
            if answer.modified().is_empty() {
                uids.push(uid.value());
            }
        }
        self.expunge(&uids).await
    }

    /// Gives back what carries this worker's code although it was never proven, or its proof was lost on the way.
    async fn give_back_strays(&mut self) -> Outcome<usize> {
        let Some(worker) = self.worker else { return Ok(0) };
        let stray = self.view.jobs().filter(|job| {
            let marks = &job.marks;
            let carries = marks.is_held_by(worker.code) && !marks.done && !marks.worker;
            carries && !self.held.contains(&job.uid.value())
        });
        let claim = |job: &Job| Claim {
            attempts: job.marks.attempts,
            ..Claim::from_token(Token {
                uid_validity: self.uid_validity,
                uid: job.uid,
                mod_seq: job.mod_seq,
                worker: worker.uid,
            })
        };
        let mut claims: Vec<Claim> = stray.map(claim).collect();
        let jobs = claims.iter_mut().map(|claim| (claim, Settle::Release)).collect();
        let settled = self.settle(jobs).await?;
        Ok(settled.into_iter().filter(|settled| *settled == Settled::Done).count())
    }

    /// Whether a job that is held is only a copy: another with its key is older and not done. Acknowledge it unread.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn is_duplicate(&mut self, claim: &Claim, message: &[u8]) -> Outcome<bool> {
        let Some(key) = super::put::key_of(message) else { return Ok(false) };
        let same = self.with_key(&key).await?;
        Ok(same.first().is_some_and(|first| *first < claim.token.uid))
    }

    /// Marks these messages as deleted unless they have changed, and removes them; answers how many were.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn purge(&mut self, which: impl Fn(&Job) -> bool) -> Outcome<u64> {
        let chosen = self.view.jobs().filter(|job| which(job));
        let chosen: Vec<(Uid, Option<ModSeq>)> = chosen.map(|job| (job.uid, job.mod_seq)).collect();
        let deleted = [Flag::System(SystemFlag::Deleted)];
        let mut gone = UidSet::new();
        for chunk in chosen.chunks(500) {
            let uids = set_of(chunk.iter().map(|(uid, _)| uid.value()));
            let Some(set) = sequence(&uids) else { continue };
            let since = chunk.iter().map(|(_, mod_seq)| *mod_seq).max().flatten();
            let since = since.filter(|_| self.footing != Footing::Marked).map(ModSeqOrZero::from);
            let answer = self.ask(store(set, since, StoreAction::Add, &deleted)).await?;
            let kept = answer.modified();
            if kept.is_empty() {
                answer.ok()?;
            }
            gone = gone.union(&uids.difference(&kept));
        }
        self.expunge(&gone).await?;
        Ok(gone.len())
    }

    /// Sends dead letters back into a queue as if they were new. This is opened on their mailbox.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn revive(&mut self, uids: &[Uid], queue: &str) -> Outcome<u64> {
        let mut moved = Vec::new();
        for uid in uids {
            let Some(job) = self.view.job(*uid) else { continue };
            let flags = job.marks.fresh().flags();
            let since = job.mod_seq.filter(|_| self.footing != Footing::Marked);
            let Some(set) = sequence(&UidSet::one(*uid)) else { continue };
            let since = since.map(ModSeqOrZero::from);
            let answer = self.ask(store(set, since, StoreAction::Replace, &flags)).await?;
            if answer.modified().is_empty() {
                answer.ok()?;
                moved.push(uid.value());
            }
        }
        let moved = set_of(moved.into_iter());
        self.relocate(&moved, queue).await?;
        Ok(moved.len())
    }

    /// Takes another process's registration back once no job carries its code any more.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn forget_worker(&mut self, worker: Uid) -> Outcome<()> {
        let code = super::OwnerCode::of(worker.value());
        let busy = self.view.jobs().any(|job| !job.marks.worker && job.marks.names(code));
        let there = self.view.job(worker).is_some_and(|job| is_registration(&job.marks));
        if there && !busy { self.delete(&UidSet::one(worker)).await } else { Ok(()) }
    }

    /// A claim that another process made, if its registration still stands for it: then a person's touch does not
    /// void the token.
    #[must_use]
    pub fn adopt(&self, token: Token) -> Claim {
        let registered = self.view.job(token.worker).is_some_and(|job| is_registration(&job.marks));
        let attempts = self.view.job(token.uid).map_or(0, |job| job.marks.attempts);
        let proven = registered.then(Instant::now);
        Claim { attempts, proven, ..Claim::from_token(token) }
    }

    /// The rules that this queue's sentinel tells, or those it was opened with.
    ///
    /// # Errors
    /// What may end the connection.
    pub async fn rules(&mut self) -> Outcome<Policy> {
        let sentinel = self.sentinel().await?;
        Ok(sentinel.map_or_else(|| self.policy.clone(), |sentinel| sentinel.policy))
    }
}
