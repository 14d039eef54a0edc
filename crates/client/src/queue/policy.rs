//! When a job may be taken, and which is taken next: pure, on the caller's own clock.
//!
//! A lease has no deadline written anywhere. An observer that has seen a claimed message keep its mod-sequence for as
//! long as a lease lasts, by its own monotonic clock, knows that the holder has not renewed it. No two clocks are
//! ever compared.
//!
//! # Invariants
//! - A job is taken over only by one who has watched it for a whole lease.
//! - A holder counts its lease from before it sent the write that proved it; so its lease ends first.

use super::view::Job;
use std::time::{Duration, Instant};

/// The rules of a queue, which all its workers must share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// How long a claim stands without a sign of life.
    pub lease: Duration,
    /// After how many failed attempts a job is dead: 1 to 15.
    pub attempts_max: u8,
    /// How long a job rests after its first failure.
    pub backoff_min: Duration,
    /// How long it rests at most.
    pub backoff_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lease: Duration::from_mins(1),
            attempts_max: 5,
            backoff_min: Duration::from_secs(10),
            backoff_max: Duration::from_hours(1),
        }
    }
}

/// What may be done with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It may be claimed.
    Ready,
    /// Somebody holds it.
    Running,
    /// Whoever holds it has not renewed the lease: it may be taken over.
    Expired,
    /// It failed and rests.
    Resting,
    /// It is for later.
    Delayed,
    /// It has failed too often and waits to be buried.
    Exhausted,
    /// It is acknowledged and about to go.
    Done,
    /// It is no job.
    Other,
}

impl Policy {
    /// How long a job rests after so many failures: doubled each time, a fifth more or less by its UID, so that jobs
    /// that failed together do not come back together.
    #[must_use]
    pub fn backoff(&self, attempts: u8, uid: u32) -> Duration {
        let Some(doublings) = attempts.checked_sub(1) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(u32::from(doublings)).unwrap_or(u32::MAX);
        let base = self.backoff_min.saturating_mul(factor).min(self.backoff_max);
        let spread =
            (uid.wrapping_mul(2_654_435_761) >> 16).wrapping_add(u32::from(attempts)) % 401;
        base / 1000 * (800 + spread)
    }

    /// What may be done with this message now.
    #[must_use]
    pub fn standing(&self, job: &Job, now: Instant) -> Standing {
        let age = now.saturating_duration_since(job.since);
        let marks = &job.marks;
        match () {
            () if marks.worker => Standing::Other,
            () if marks.done => Standing::Done,
            // Somebody deletes it by hand.
            () if marks.deleted => Standing::Other,
            () if marks.owner != 0 && age >= self.lease => Standing::Expired,
            () if marks.owner != 0 => Standing::Running,
            () if marks.attempts >= self.attempts_max => Standing::Exhausted,
            () if marks.attempts > 0 && age < self.backoff(marks.attempts, job.uid.value()) => {
                Standing::Resting
            }
            () if !job.due => Standing::Delayed,
            () => Standing::Ready,
        }
    }

    /// When this message's standing changes if nobody touches it.
    #[must_use]
    pub fn changes_at(&self, job: &Job, now: Instant) -> Option<Instant> {
        match self.standing(job, now) {
            Standing::Running => job.since.checked_add(self.lease),
            Standing::Resting => {
                job.since.checked_add(self.backoff(job.marks.attempts, job.uid.value()))
            }
            _ => None,
        }
    }

    /// How long before the lease's end a holder must have stopped.
    #[must_use]
    pub fn margin(&self) -> Duration {
        (self.lease / 10)
            .clamp(Duration::from_millis(50), Duration::from_secs(5))
            .min(self.lease / 2)
    }
}

/// How many of those that may be taken are looked at.
const WINDOW: usize = 64;

/// The jobs to take next: the most urgent first, then the oldest. With others about, some of the first 64 from where
/// `chance` says, so that not all reach for the same.
pub(super) fn pick<'a>(
    ready: impl Iterator<Item = &'a Job>,
    count: usize,
    alone: bool,
    chance: u64,
) -> Vec<&'a Job> {
    let mut ready: Vec<&Job> = ready.collect();
    ready.sort_by_key(|job| (std::cmp::Reverse(job.marks.priority), job.uid));
    let urgent = ready.first().map(|job| job.marks.priority);
    let same = ready.iter().take_while(|job| Some(job.marks.priority) == urgent).count();
    let window = same.min(WINDOW.max(count));
    if !alone && window > count {
        let room = u64::try_from(window).unwrap_or(1);
        let start = usize::try_from(chance % room).unwrap_or(0);
        ready.truncate(window);
        ready.rotate_left(start);
    }
    ready.truncate(count);
    ready
}

#[cfg(test)]
mod tests {
    use super::super::alphabet::{Marks, OwnerCode};
    use super::*;
    use imap::number::{ModSeq, Uid};

    fn job(uid: u32, marks: Marks, since: Instant) -> Job {
        let uid = Uid::new(uid).unwrap();
        Job { uid, mod_seq: ModSeq::new(7), marks, arrived: None, due: true, since }
    }

    #[test]
    fn a_claim_expires_only_before_eyes_that_watched_it_for_a_lease() {
        let policy = Policy::default();
        let start = Instant::now();
        let held = job(1, Marks::default().held(OwnerCode::of(9)), start);
        let at = |seconds| policy.standing(&held, start + Duration::from_secs(seconds));
        assert_eq!(
            (at(0), at(59), at(60)),
            (Standing::Running, Standing::Running, Standing::Expired)
        );
        assert_eq!(policy.changes_at(&held, start), Some(start + policy.lease));
        let early =
            policy.standing(&held, start.checked_sub(Duration::from_secs(99)).unwrap_or(start));
        assert_eq!(early, Standing::Running);
    }

    #[test]
    fn back_off_grows_within_its_bounds() {
        let policy = Policy::default();
        for uid in (1..100_000).step_by(997) {
            assert_eq!(policy.backoff(0, uid), Duration::ZERO);
            let mut last = Duration::ZERO;
            for attempts in 1..=15 {
                let rest = policy.backoff(attempts, uid);
                let base = (policy.backoff_min * (1 << (attempts - 1))).min(policy.backoff_max);
                assert!(rest >= base / 5 * 4 && rest <= base / 5 * 6, "{uid} {attempts} {rest:?}");
                assert!(attempts > 8 || rest > last);
                last = rest;
            }
        }
    }

    #[test]
    fn a_failed_job_rests_then_is_ready_then_exhausted() {
        let policy = Policy::default();
        let start = Instant::now();
        let failed = job(1, Marks { attempts: 1, ..Marks::default() }, start);
        assert_eq!(policy.standing(&failed, start), Standing::Resting);
        assert_eq!(policy.standing(&failed, start + Duration::from_secs(12)), Standing::Ready);
        let failed = job(1, Marks { attempts: 5, ..Marks::default() }, start);
        assert_eq!(policy.standing(&failed, start), Standing::Exhausted);
    }

    #[test]
    fn what_is_no_job_is_never_taken() {
        let policy = Policy::default();
        let start = Instant::now();
        let later = start + Duration::from_hours(24);
        let standing = |marks| policy.standing(&job(1, marks, start), later);
        assert_eq!(standing(Marks { worker: true, ..Marks::default() }), Standing::Other);
        assert_eq!(standing(Marks { deleted: true, ..Marks::default() }), Standing::Other);
        assert_eq!(standing(Marks { done: true, owner: 31, ..Marks::default() }), Standing::Done);
        let delayed = Job { due: false, ..job(1, Marks::default(), start) };
        assert_eq!(policy.standing(&delayed, later), Standing::Delayed);
    }

    #[test]
    fn the_urgent_go_first_and_a_crowd_spreads() {
        let now = Instant::now();
        let urgent = Marks { priority: 3, ..Marks::default() };
        let mut jobs: Vec<Job> = (1..=100).map(|uid| job(uid, Marks::default(), now)).collect();
        let uids = |picked: Vec<&Job>| picked.iter().map(|job| job.uid.value()).collect::<Vec<_>>();
        assert_eq!(uids(pick(jobs.iter(), 3, true, 40)), [1, 2, 3]);
        assert_eq!(uids(pick(jobs.iter(), 3, false, 40)), [41, 42, 43]);
        assert_eq!(uids(pick(jobs.iter(), 2, false, 63)), [64, 1]);
        jobs.push(job(101, urgent, now));
        assert_eq!(uids(pick(jobs.iter(), 2, false, 40)), [101, 1]);
    }
}
