//! Claiming a job, and what proves that it is ours.
//!
//! # Invariants
//! - A first claim adds the worker's code (`+FLAGS`, never `.SILENT`, never `FLAGS`): where a server lets two through,
//!   both marks stay, and neither weighs five.
//! - Ours is a message that MODIFIED does not name and that the server last showed with a mod-sequence above the
//!   condition and with exactly our code.
//! - Taking over replaces all flags, so it moves HIGHESTMODSEQ first where the server is not known to be exact, and
//!   is always read back.

use super::policy::pick;
use super::{Footing, Marks, Outcome, OwnerCode, Queue, QueueError, Standing, Worker, set_of};
use crate::answer::{Answer, Fetched};
use crate::conversation::Ticket;
use crate::store::{sequence, store};
use imap::command::{CommandBody, DateTime, StoreAction};
use imap::encode::Code;
use imap::number::{ModSeq, ModSeqOrZero, Uid, UidValidity};
use imap::set::UidSet;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Instant;

/// What proves a claim: the message, the mod-sequence that the claim gave it, and whose it is. Tokens of one message
/// rise from holder to holder: whoever guards a resource refuses those below the highest it has seen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Token {
    /// The mailbox's UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// The message.
    pub uid: Uid,
    /// Its mod-sequence; `None` on servers without.
    pub mod_seq: Option<ModSeq>,
    /// The holder's registration.
    pub worker: Uid,
}

/// A text that is no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TokenError;

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a token as `queue claim` prints it: four numbers with colons between")
    }
}

impl std::error::Error for TokenError {}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uid_validity, uid, mod_seq, worker } = self;
        write!(f, "{uid_validity}:{uid}:{}:{worker}", mod_seq.map_or(0, ModSeq::value))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let numbers = text.split(':').map(|part| part.parse::<u64>().ok()).collect::<Vec<_>>();
        let [Some(validity), Some(uid), Some(mod_seq), Some(worker)] = numbers[..] else {
            return Err(TokenError);
        };
        let small = |n: u64| u32::try_from(n).ok();
        Ok(Self {
            uid_validity: small(validity).and_then(UidValidity::new).ok_or(TokenError)?,
            uid: small(uid).and_then(Uid::new).ok_or(TokenError)?,
            mod_seq: ModSeqOrZero::new(mod_seq).ok_or(TokenError)?.get(),
            worker: small(worker).and_then(Uid::new).ok_or(TokenError)?,
        })
    }
}

/// A job that is held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// What proves it.
    pub token: Token,
    /// How many attempts have failed before.
    pub attempts: u8,
    /// INTERNALDATE.
    pub arrived: Option<DateTime>,
    /// Whether somebody else's lease had run out.
    pub taken_over: bool,
    /// A moment before the lease began for those who watch; `None` when it is not known, as for a token from another
    /// process.
    pub proven: Option<Instant>,
}

impl Claim {
    /// Whose it is.
    #[must_use]
    pub fn code(&self) -> OwnerCode {
        OwnerCode::of(self.token.worker.value())
    }

    /// A claim that another process made.
    #[must_use]
    pub fn from_token(token: Token) -> Self {
        Self { token, attempts: 0, arrived: None, taken_over: false, proven: None }
    }
}

/// What a server's answer says of a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Proof {
    Ours,
    Theirs,
    /// To be read back.
    Open,
}

/// Judges a claim of one message by what the server said of it last.
fn prove(since: Option<ModSeq>, code: OwnerCode, lost: bool, told: Option<&Fetched>) -> Proof {
    if lost {
        return Proof::Theirs;
    }
    let Some(flags) = told.and_then(|told| told.flags.as_ref()) else { return Proof::Open };
    let marks = Marks::read(flags);
    let later = match (since, told.and_then(|told| told.mod_seq)) {
        (None, _) => true,
        (Some(_), None) => return Proof::Open,
        (Some(since), Some(mod_seq)) => mod_seq > since,
    };
    let ours = later && marks.is_held_by(code) && !marks.done && !marks.deleted;
    if ours { Proof::Ours } else { Proof::Theirs }
}

/// The last FETCH of each message in the answers to commands that were sent together. A server may tell what one of
/// them has changed before its answer to another: Dovecot does.
fn last_told(answers: &[Answer]) -> BTreeMap<u32, Fetched> {
    let all = answers.iter().flat_map(Answer::fetched).filter(|told| told.flags.is_some());
    all.map(|told| (told.uid.value(), told)).collect()
}

/// Messages in one STORE where the server is exact, and where each must be proven.
const BATCH_MAX: usize = 20;
const BATCH_MAX_PROVEN: usize = 5;

/// A job that is to be claimed.
struct Wanted {
    uid: Uid,
    mod_seq: Option<ModSeq>,
    marks: Marks,
    arrived: Option<DateTime>,
}

impl Queue {
    /// Claims up to `count` jobs out of what is known; first what is ready, then what others have let expire. Those
    /// that have failed too often are among them: they are to be buried.
    ///
    /// # Errors
    /// [`QueueError::Unregistered`], and what may end the connection.
    pub async fn claim(&mut self, count: usize) -> Outcome<Vec<Claim>> {
        let worker = self.worker.ok_or(QueueError::Unregistered)?;
        if self.is_drained() {
            return Ok(Vec::new());
        }
        let batch = match self.footing {
            Footing::Exact => BATCH_MAX,
            Footing::Proven => BATCH_MAX_PROVEN,
            Footing::Marked => 1,
        };
        let mut claims = Vec::new();
        let wanted = self.wanted(count, &[Standing::Ready, Standing::Exhausted]);
        for chunk in wanted.chunks(batch) {
            claims.append(&mut self.claim_ready(worker, chunk).await?);
        }
        for wanted in self.wanted(count - claims.len(), &[Standing::Expired]) {
            claims.extend(self.take_over(worker, wanted).await?);
        }
        self.held.extend(claims.iter().map(|claim| claim.token.uid.value()));
        Ok(claims)
    }

    /// Whether there is something to claim.
    #[must_use]
    pub fn has_claimable(&self) -> bool {
        let now = Instant::now();
        let claimable = [Standing::Ready, Standing::Exhausted, Standing::Expired];
        !self.is_drained()
            && self.view.jobs().any(|job| {
                claimable.contains(&self.policy.standing(job, now))
                    && !self.held.contains(&job.uid.value())
            })
    }

    /// When something may become claimable without anybody doing anything.
    #[must_use]
    pub fn next_change(&self) -> Option<Instant> {
        let now = Instant::now();
        let theirs = self.view.jobs().filter(|job| !self.held.contains(&job.uid.value()));
        let aged = theirs.filter_map(|job| self.policy.changes_at(job, now));
        let dates = self.view.jobs().filter(|job| !job.due).filter_map(|job| job.arrived);
        let due = dates.map(|date| date.unix).min().map(|unix| {
            let seconds = u64::try_from(unix.saturating_sub(self.server_now())).unwrap_or(0);
            now + std::time::Duration::from_secs(seconds.clamp(1, 3600))
        });
        aged.chain(due).min()
    }

    fn wanted(&mut self, count: usize, standings: &[Standing]) -> Vec<Wanted> {
        let (now, chance) = (Instant::now(), self.toss());
        let alone = self.workers().nth(1).is_none();
        let open = self.view.jobs().filter(|job| {
            standings.contains(&self.policy.standing(job, now))
                && !self.held.contains(&job.uid.value())
        });
        let picked = pick(open, count, alone, chance).into_iter();
        let wanted = picked.map(|job| Wanted {
            uid: job.uid,
            mod_seq: job.mod_seq,
            marks: job.marks.clone(),
            arrived: job.arrived,
        });
        wanted.collect()
    }

    /// Moves HIGHESTMODSEQ if a condition is as high, which some servers do not test under their lock.
    pub(super) fn submit_bump(&mut self, since: Option<ModSeq>) -> Outcome<Option<Ticket>> {
        let high = since.is_some_and(|since| since.value() >= self.view.highest());
        if self.footing == Footing::Proven && high { self.submit_beat() } else { Ok(None) }
    }

    async fn claim_ready(&mut self, worker: Worker, wanted: &[Wanted]) -> Outcome<Vec<Claim>> {
        let uids = set_of(wanted.iter().map(|wanted| wanted.uid.value()));
        // Whatever was claimed since all these were told has a mod-sequence above all of theirs.
        let since = wanted.iter().map(|wanted| wanted.mod_seq).max().flatten();
        let since = since.filter(|_| self.footing != Footing::Marked);
        let Some(set) = sequence(&uids) else { return Ok(Vec::new()) };
        let begun = Instant::now();
        let bump = self.submit_bump(since)?;
        let condition = since.map(ModSeqOrZero::from);
        let body = store(set, condition, StoreAction::Add, &worker.code.flags());
        let claim = self.connection.submit(body)?;
        let mut answers = self.answers(bump).await?;
        let answer = self.answer(claim).await?;
        if answer.codes().any(|code| matches!(code, Code::NoPerm)) {
            answer.ok()?;
            return Ok(Vec::new());
        }
        let lost = answer.modified().intersection(&uids);
        answers.push(answer);
        let mut told = last_told(&answers);
        let proof = |told: &BTreeMap<u32, Fetched>, uid: u32| {
            prove(since, worker.code, lost.contains(uid), told.get(&uid))
        };
        // What was lost is read, too: not every server tells the losers who has won.
        let marked = self.footing == Footing::Marked;
        let open = uids
            .iter()
            .filter(|uid| marked || lost.contains(*uid) || proof(&told, *uid) == Proof::Open);
        let open = set_of(open);
        told.extend(last_told(&self.told_anew(&open).await?));
        let is_ours = |uid: u32| proof(&told, uid) == Proof::Ours;
        if marked {
            self.undo(worker, uids.iter().filter(|uid| !is_ours(*uid))).await?;
        }
        let ours = wanted.iter().filter(|wanted| is_ours(wanted.uid.value()));
        let claim = |wanted: &Wanted| {
            let mod_seq = told.get(&wanted.uid.value()).and_then(|told| told.mod_seq);
            self.claimed(worker, wanted, mod_seq, begun)
        };
        Ok(ours.map(claim).collect())
    }

    /// NOOP, so that changes are told, and a FETCH.
    async fn told_anew(&mut self, uids: &UidSet) -> Outcome<Vec<Answer>> {
        if uids.is_empty() {
            return Ok(Vec::new());
        }
        let noop = self.connection.submit(CommandBody::Noop)?;
        self.read_back(Some(noop), uids).await
    }

    /// Takes back marks that met another's, on servers that cannot refuse them.
    async fn undo(&mut self, worker: Worker, met: impl Iterator<Item = u32>) -> Outcome<()> {
        let Some(set) = sequence(&set_of(met)) else { return Ok(()) };
        self.ask(store(set, None, StoreAction::Remove, &worker.code.flags())).await?.ok()?;
        Ok(())
    }

    async fn take_over(&mut self, worker: Worker, wanted: Wanted) -> Outcome<Option<Claim>> {
        let uids = UidSet::one(wanted.uid);
        let since = wanted.mod_seq.filter(|_| self.footing != Footing::Marked);
        if since.is_none() {
            return self.free_expired(wanted).await.map(|()| None);
        }
        let marks = wanted.marks.held(worker.code).failed_once_more();
        let Some(set) = sequence(&uids) else { return Ok(None) };
        let begun = Instant::now();
        let bump = if self.footing == Footing::Proven { self.submit_beat()? } else { None };
        let condition = since.map(ModSeqOrZero::from);
        let body = store(set, condition, StoreAction::Replace, &marks.flags());
        let ticket = self.connection.submit(body)?;
        let mut answers = self.answers(bump).await?;
        let answer = self.answer(ticket).await?;
        let lost = answer.modified().contains(wanted.uid.value());
        answers.push(answer);
        answers.extend(self.told_anew(&uids).await?);
        let told = last_told(&answers).remove(&wanted.uid.value());
        if prove(since, worker.code, lost, told.as_ref()) != Proof::Ours {
            return Ok(None);
        }
        let mod_seq = told.and_then(|told| told.mod_seq);
        let wanted = Wanted { marks, ..wanted };
        Ok(Some(Claim { taken_over: true, ..self.claimed(worker, &wanted, mod_seq, begun) }))
    }

    /// Without mod-sequences nothing can be replaced safely: an expired job is freed first, and then claimed anew.
    async fn free_expired(&mut self, wanted: Wanted) -> Outcome<()> {
        let marks = wanted.marks.freed().failed_once_more();
        let Some(set) = sequence(&UidSet::one(wanted.uid)) else { return Ok(()) };
        self.ask(store(set, None, StoreAction::Replace, &marks.flags())).await?.ok()?;
        Ok(())
    }

    fn claimed(
        &self,
        worker: Worker,
        wanted: &Wanted,
        mod_seq: Option<ModSeq>,
        begun: Instant,
    ) -> Claim {
        let token =
            Token { uid_validity: self.uid_validity, uid: wanted.uid, mod_seq, worker: worker.uid };
        Claim {
            token,
            attempts: wanted.marks.attempts,
            arrived: wanted.arrived,
            taken_over: false,
            proven: Some(begun),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imap::response::FlagName;

    fn told(code: u16, mod_seq: Option<u64>) -> Fetched {
        let marks = Marks { owner: code, ..Marks::default() };
        let flags = marks.flags().into_iter().map(FlagName::Flag).collect();
        let mod_seq = mod_seq.and_then(ModSeq::new);
        Fetched { uid: Uid::MIN, flags: Some(flags), mod_seq, items: vec![] }
    }

    #[test]
    fn ours_is_what_is_shown_later_with_exactly_our_code() {
        let since = ModSeq::new(10);
        for number in 0..OwnerCode::COUNT {
            let (code, other) = (OwnerCode::of(number), OwnerCode::of(number + 1));
            let judge = |lost, told: Option<&Fetched>| prove(since, code, lost, told);
            assert_eq!(judge(false, Some(&told(code.bits(), Some(11)))), Proof::Ours);
            assert_eq!(judge(true, Some(&told(code.bits(), Some(11)))), Proof::Theirs);
            assert_eq!(judge(false, Some(&told(code.bits(), Some(10)))), Proof::Theirs);
            assert_eq!(judge(false, Some(&told(code.bits(), None))), Proof::Open);
            assert_eq!(judge(false, None), Proof::Open);
            let both = code.bits() | other.bits();
            assert_eq!(judge(false, Some(&told(both, Some(11)))), Proof::Theirs);
            assert_eq!(judge(false, Some(&told(other.bits(), Some(11)))), Proof::Theirs);
            assert_eq!(judge(false, Some(&told(0, Some(11)))), Proof::Theirs);
        }
    }

    #[test]
    fn tokens_come_back_from_their_text() {
        for text in ["1:2:3:4", "4294967295:1:9223372036854775807:9", "1:2:0:4"] {
            assert_eq!(text.parse::<Token>().unwrap().to_string(), text);
        }
        for wrong in ["", "1:2:3", "0:2:3:4", "1:2:3:4:5", "1:2:9223372036854775808:4", "a:2:3:4"] {
            assert_eq!(wrong.parse::<Token>(), Err(TokenError), "{wrong}");
        }
    }
}
