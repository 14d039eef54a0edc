//! What a holder does with its job: acknowledge, fail, give back, bury, or hold on.
//!
//! Every write sets all flags on condition of the token. When somebody has touched the message meanwhile, its state
//! decides: still exactly ours and within the lease, it is tried again with what the other has set; else it is lost.
//!
//! # Invariants
//! - A job is settled by its holder only. A holder whose lease has run out may still settle with its token, which
//!   nobody else's write leaves valid, but never takes a newer mod-sequence for its own: codes are used again.
//! - An acknowledged job keeps its holder's code until it is gone, so that an answer that was lost can be read again.

use super::{Claim, Footing, Marks, Outcome, Queue, set_of};
use crate::store::{sequence, store};
use imap::command::StoreAction;
use imap::encode::{Code, Status};
use imap::number::{ModSeq, ModSeqOrZero};
use imap::set::UidSet;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// What is to become of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settle {
    /// It is done: deleted, or moved to the archive.
    Ack,
    /// It failed: back into the queue, to rest for a while.
    Fail,
    /// It was not begun: back into the queue as it was.
    Release,
    /// It failed and is not to be tried again: to the dead letters.
    Bury,
    /// It goes on: the lease begins anew.
    Extend,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// As was wanted.
    Done,
    /// Somebody else holds it, or has: nothing was changed.
    Lost,
    /// The message is gone.
    Gone,
}

/// What to write next, if anything.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    End(Settled),
    /// Replace all flags with these on this condition; that it was done shows in a later mod-sequence.
    Write(Option<ModSeq>, Marks),
}

/// What the message looks like when it was done.
fn goal(settle: Settle, claim: &Claim, marks: &Marks, archived: bool) -> Marks {
    let held = marks.held(claim.code());
    match settle {
        Settle::Ack => Marks { done: true, deleted: !archived, ..held },
        Settle::Fail => marks.freed().failed_once_more(),
        Settle::Release => Marks { heartbeat: !marks.heartbeat, ..marks.freed() },
        Settle::Bury => held.failed_once_more(),
        Settle::Extend => Marks { heartbeat: !marks.heartbeat, ..held },
    }
}

/// Whether the message is so already; `sent` tells whether it was written since the token.
fn is_reached(settle: Settle, claim: &Claim, marks: &Marks, sent: bool) -> bool {
    match settle {
        // Nobody else leaves this code on what is done.
        Settle::Ack => marks.done && marks.is_held_by(claim.code()),
        Settle::Fail => sent && marks.owner == 0 && marks.attempts > claim.attempts,
        Settle::Release => sent && marks.owner == 0 && marks.attempts == claim.attempts,
        Settle::Bury => sent && marks.is_held_by(claim.code()) && marks.attempts > claim.attempts,
        Settle::Extend => sent && marks.is_held_by(claim.code()) && !marks.done,
    }
}

/// The state of a message: its mod-sequence and its flags.
type State<'a> = (Option<ModSeq>, &'a Marks);

/// Decides by the message's state; `sent` is the condition of the write that was answered, if one was.
fn step(
    settle: Settle,
    claim: &Claim,
    state: Option<State<'_>>,
    sent: Option<Option<ModSeq>>,
    within_lease: bool,
    archived: bool,
) -> Step {
    let Some((mod_seq, marks)) = state else { return Step::End(Settled::Gone) };
    let written = sent.is_some_and(|sent| mod_seq > sent || mod_seq.is_none());
    if is_reached(settle, claim, marks, written) {
        return Step::End(Settled::Done);
    }
    let ours = marks.is_held_by(claim.code()) && !marks.done;
    // Marked twice, or robbed of some marks where nothing can be conditional: whoever has the proof says so again.
    let blurred = marks.owner != 0 && (marks.names(claim.code()) || mod_seq.is_none());
    let token = mod_seq.is_some() && mod_seq == claim.token.mod_seq;
    if (ours && (token || within_lease)) || (blurred && within_lease && !marks.done) {
        Step::Write(mod_seq, goal(settle, claim, marks, archived))
    } else {
        Step::End(Settled::Lost)
    }
}

/// How often a write is tried because a person keeps touching the message, whose state is read first [C-16].
const WRITES_MAX: usize = 6;

/// One job that is being settled.
struct Open<'a> {
    claim: &'a mut Claim,
    settle: Settle,
    sent: Option<Option<ModSeq>>,
    begun: Instant,
    end: Option<Settled>,
}

impl Queue {
    /// Settles jobs, all in the same breath. Claims that go on get their new tokens. What is acknowledged goes from the
    /// mailbox a little later: see [`Queue::cleared`].
    ///
    /// # Errors
    /// What may end the connection; then each may have been settled or not: [`Queue::resume`] and settle again.
    pub async fn settle(&mut self, given: Vec<(&mut Claim, Settle)>) -> Outcome<Vec<Settled>> {
        let begun = Instant::now();
        let valid = self.uid_validity;
        let mut jobs: Vec<Open<'_>> = Vec::new();
        for (claim, settle) in given {
            let end = (claim.token.uid_validity != valid).then_some(Settled::Lost);
            jobs.push(Open { claim, settle, sent: None, begun, end });
        }
        // After the last write it is still seen what came of it.
        for round in 0..=WRITES_MAX {
            if !self.settle_once(&mut jobs, round < WRITES_MAX).await? {
                break;
            }
        }
        for job in &mut jobs {
            let valid = job.claim.token.uid_validity == valid;
            if valid && (job.settle != Settle::Extend || job.end != Some(Settled::Done)) {
                self.held.remove(&job.claim.token.uid.value());
            }
        }
        self.clear_settled(&jobs).await?;
        Ok(jobs.iter().map(|job| job.end.unwrap_or(Settled::Lost)).collect())
    }

    /// Forgets a claim without a word to the server: its lease runs out.
    pub fn abandon(&mut self, claim: &Claim) {
        self.held.remove(&claim.token.uid.value());
    }

    /// Knows of no other claims than these any more: what was claimed as a connection broke may never have been told.
    pub fn hold_only<'a>(&mut self, claims: impl Iterator<Item = &'a Claim>) {
        self.held = claims.map(|claim| claim.token.uid.value()).collect();
    }

    /// Decides what is next for each, writes if it still may, and hears what came of it; answers whether anything was
    /// written.
    async fn settle_once(&mut self, jobs: &mut [Open<'_>], may_write: bool) -> Outcome<bool> {
        let lease = self.policy.lease;
        let archived = self.archive.is_some();
        let mut writes = Vec::new();
        for (at, job) in jobs.iter_mut().enumerate().filter(|(_, job)| job.end.is_none()) {
            let known = self.view.job(job.claim.token.uid);
            let state = known.map(|known| (known.mod_seq, &known.marks));
            let within = job.claim.proven.is_some_and(|proven| proven.elapsed() < lease);
            match step(job.settle, job.claim, state, job.sent, within, archived) {
                Step::End(settled) => {
                    job.end = Some(settled);
                    if settled == Settled::Done {
                        job.claim.token.mod_seq = state.and_then(|(mod_seq, _)| mod_seq);
                        job.claim.proven = Some(job.begun);
                    }
                }
                Step::Write(..) if !may_write => {}
                Step::Write(since, marks) => {
                    (job.sent, job.begun) = (Some(since), Instant::now());
                    writes.push((at, job.claim.token.uid, since, marks));
                }
            }
        }
        if writes.is_empty() {
            return Ok(false);
        }
        let highest = writes.iter().filter_map(|(_, _, since, _)| *since).max();
        let mut tickets: BTreeMap<_, _> =
            self.submit_bump(highest)?.map(|t| (t, None)).into_iter().collect();
        for (_, uid, since, marks) in &writes {
            let Some(set) = sequence(&UidSet::one(*uid)) else { continue };
            let condition =
                since.filter(|_| self.footing != Footing::Marked).map(ModSeqOrZero::from);
            let body = store(set, condition, StoreAction::Replace, &marks.flags());
            tickets.insert(self.connection.submit(body)?, Some(*uid));
        }
        let mut unsure = BTreeSet::new();
        for (ticket, uid) in tickets {
            let answer = self.answer(ticket).await?;
            let Some(uid) = uid else { continue };
            if answer.modified().contains(uid.value()) || answer.status != Status::Ok {
                unsure.insert(uid.value());
            }
            if answer.codes().any(|code| matches!(code, Code::NoPerm)) {
                answer.ok()?;
            }
        }
        // What was told, with whichever answer, is known; a message that was not is as it was, or gone.
        for (_, uid, since, _) in &writes {
            let known = self.view.job(*uid);
            if known.is_none_or(|known| known.mod_seq.is_none() || known.mod_seq == *since) {
                unsure.insert(uid.value());
            }
        }
        self.read_back(None, &set_of(unsure.into_iter())).await?;
        Ok(true)
    }

    /// Removes what is acknowledged, and moves what is archived or dead.
    async fn clear_settled(&mut self, jobs: &[Open<'_>]) -> Outcome<()> {
        let of = |settle| {
            let done =
                jobs.iter().filter(|job| job.settle == settle && job.end == Some(Settled::Done));
            set_of(done.map(|job| job.claim.token.uid.value()))
        };
        match self.archive.clone() {
            Some(archive) => self.relocate(&of(Settle::Ack), &archive).await?,
            None => self.submit_expunge(&of(Settle::Ack)).await?,
        }
        let buried = of(Settle::Bury);
        if !buried.is_empty() {
            let dead = match self.dead.clone() {
                Some(dead) => dead,
                None => self.below("Dead").await?,
            };
            self.relocate(&buried, &dead).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::OwnerCode;
    use super::super::claim::Token;
    use super::*;
    use imap::flag::{Flag, SystemFlag};
    use imap::number::{Uid, UidValidity};

    const ALL: [Settle; 5] =
        [Settle::Ack, Settle::Fail, Settle::Release, Settle::Bury, Settle::Extend];

    fn claim(mod_seq: u64) -> Claim {
        Claim::from_token(Token {
            uid_validity: UidValidity::MIN,
            uid: Uid::MIN,
            mod_seq: ModSeq::new(mod_seq),
            worker: Uid::new(7).unwrap(),
        })
    }

    #[test]
    fn a_zombie_settles_nothing_that_another_holds() {
        let (claim, other) = (claim(10), OwnerCode::of(8));
        for settle in ALL {
            for sent in [None, Some(ModSeq::new(10))] {
                for within in [false, true] {
                    for done in [false, true] {
                        let marks = Marks { done, ..Marks::default().held(other) };
                        let state = Some((ModSeq::new(11), &marks));
                        let step = step(settle, &claim, state, sent, within, false);
                        assert_eq!(step, Step::End(Settled::Lost), "{settle:?} {sent:?} {done}");
                    }
                }
            }
            assert_eq!(step(settle, &claim, None, None, true, false), Step::End(Settled::Gone));
        }
    }

    #[test]
    fn after_the_lease_only_the_token_itself_counts() {
        let claim = claim(10);
        let marks = Marks::default().held(claim.code());
        for settle in ALL {
            let at = |mod_seq, within| {
                step(settle, &claim, Some((ModSeq::new(mod_seq), &marks)), None, within, false)
            };
            assert!(matches!(at(10, false), Step::Write(..)));
            assert!(matches!(at(11, true), Step::Write(..)));
            assert_eq!(
                at(11, false),
                Step::End(Settled::Lost),
                "another may have this code by now"
            );
        }
    }

    #[test]
    fn what_a_person_has_set_is_carried_along() {
        let claim = claim(10);
        let others = vec![Flag::System(SystemFlag::Flagged)];
        let marks = Marks { others, ..Marks::default().held(claim.code()) };
        for settle in ALL {
            let state = Some((ModSeq::new(12), &marks));
            let sent = Some(ModSeq::new(10));
            match step(settle, &claim, state, sent, true, false) {
                Step::Write(since, goal) => {
                    assert_eq!(since, ModSeq::new(12));
                    assert_eq!(goal.others, marks.others);
                }
                // A lease that is held on to is, whoever wrote.
                Step::End(end) => assert_eq!((settle, end), (Settle::Extend, Settled::Done)),
            }
        }
    }

    #[test]
    fn what_was_written_is_known_again_and_never_written_twice() {
        let claim = claim(10);
        let before = Marks::default().held(claim.code());
        for (settle, archived) in ALL.into_iter().flat_map(|s| [(s, false), (s, true)]) {
            let state = Some((ModSeq::new(10), &before));
            let Step::Write(since, goal) = step(settle, &claim, state, None, true, archived) else {
                panic!("{settle:?}")
            };
            assert_ne!(goal, before, "a write that changes nothing proves nothing");
            let state = Some((ModSeq::new(11), &goal));
            let again = step(settle, &claim, state, Some(since), true, archived);
            assert_eq!(again, Step::End(Settled::Done), "{settle:?}");
        }
        let acked = Marks { done: true, deleted: true, ..before };
        let doubted =
            step(Settle::Ack, &claim, Some((ModSeq::new(11), &acked)), None, false, false);
        assert_eq!(doubted, Step::End(Settled::Done), "an answer that was lost is read again");
    }

    #[test]
    fn a_claim_that_another_blurred_is_said_again_by_who_has_the_proof() {
        let claim = claim(10);
        let mut marks = Marks::default().held(claim.code());
        marks.owner |= OwnerCode::of(8).bits();
        let state = Some((ModSeq::new(11), &marks));
        match step(Settle::Extend, &claim, state, None, true, false) {
            Step::Write(_, goal) => assert!(goal.is_held_by(claim.code())),
            Step::End(end) => panic!("{end:?}"),
        }
        assert_eq!(
            step(Settle::Extend, &claim, state, None, false, false),
            Step::End(Settled::Lost)
        );
    }
}
