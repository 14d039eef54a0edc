//! When a commit is refused, written once for every engine.
//!
//! # Invariants
//! - What another writer may have done meanwhile is [`EngineError::Behind`]; what no writer that read this
//!   database could have meant is [`EngineError::Damaged`]. Either way nothing of the commit is done.

use std::collections::BTreeMap;

use crate::engine::{
    AccountId, AccountRow, Append, BodyId, Commit, Engine, EngineError, Fold, Held, LogHead, News,
    Numbered, Standing,
};

/// What a commit does to one body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gain {
    /// References gained less those lost.
    pub change: i64,
    /// The commit brings the body.
    pub new: bool,
}

/// Tests a delta against how far its log has come; 0 and 0 for a log that is not there.
///
/// # Errors
/// [`EngineError::Behind`] when the log ends elsewhere; [`EngineError::Damaged`] when numbers do not rise.
pub fn check_append(head: LogHead, append: &Append) -> Result<(), EngineError> {
    if append.after != head.seq {
        return Err(EngineError::Behind);
    }
    if append.seq <= append.after {
        let why = format!("delta {} cannot follow {}", append.seq, append.after);
        return Err(EngineError::Damaged(why));
    }
    Ok(())
}

/// Tests a fold; answers whether there is something to do: the fold of a log that is no more is passed over,
/// since it is housekeeping and must not undo what stands beside it in the commit.
///
/// # Errors
/// [`EngineError::Behind`] when another fold was faster; [`EngineError::Damaged`] when it is ahead of
/// the log.
pub fn check_fold(head: LogHead, fold: &Fold) -> Result<bool, EngineError> {
    if head.seq == 0 {
        return Ok(false);
    }
    if fold.seq < head.folded || fold.base.is_some_and(|base| base != head.folded) {
        return Err(EngineError::Behind);
    }
    if fold.seq > head.seq {
        let why = format!("a fold up to {} of a log that ends at {}", fold.seq, head.seq);
        return Err(EngineError::Damaged(why));
    }
    Ok(true)
}

/// What one who holds a log has not got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// It has everything.
    Nothing,
    /// The deltas after the held one.
    Deltas,
    /// All of it: a fold went past what is held, or what is held was never in this log.
    All,
    /// The log is no more.
    Log,
}

/// What one who holds a log has not got of it; `None` stands for a log that is not there.
pub fn missing(held: Held, head: Option<LogHead>) -> Missing {
    match head {
        None if held.seq == 0 => Missing::Nothing,
        None => Missing::Log,
        Some(head) if head.seq == held.seq => Missing::Nothing,
        Some(head) if head.folded > held.seq || head.seq < held.seq => Missing::All,
        Some(_) => Missing::Deltas,
    }
}

/// Where a log stands, by reading all of it: for engines on which nobody waits for that.
///
/// # Errors
/// As [`Engine::load`].
pub fn standing<E: Engine + ?Sized>(engine: &E, held: Held) -> Result<Standing, EngineError> {
    let (mut pages, mut deltas) = (Numbered::new(), Numbered::new());
    let head = engine.load(
        held.log,
        &mut |key, octets| {
            pages.push((key, octets.to_vec()));
            Ok(())
        },
        &mut |seq, octets| {
            deltas.push((seq, octets.to_vec()));
            Ok(())
        },
    )?;
    let news = match missing(held, head) {
        Missing::Nothing => News::None,
        Missing::Log => News::Dropped,
        Missing::All => News::Whole { pages, deltas },
        Missing::Deltas => {
            deltas.retain(|(seq, _)| *seq > held.seq);
            News::Deltas(deltas)
        }
    };
    let is_account = held.log.number == 0;
    let usage = is_account.then(|| engine.usage(held.log.account)).transpose()?;
    Ok(Standing { log: held.log, head: head.unwrap_or_default(), news, usage })
}

/// Tests a new account row against the one that is there.
///
/// # Errors
/// [`EngineError::Behind`] when the row is of another account or its version is not above the old one.
pub fn check_account(id: AccountId, version: u64, new: &AccountRow) -> Result<(), EngineError> {
    if new.id == id && new.version > version { Ok(()) } else { Err(EngineError::Behind) }
}

/// What the commit does to each body that it brings or names.
///
/// # Errors
/// [`EngineError::Damaged`] when it brings a body twice.
pub fn references(commit: &Commit) -> Result<BTreeMap<BodyId, Gain>, EngineError> {
    let mut gains = BTreeMap::new();
    for body in &commit.bodies {
        if gains.insert(body.id, Gain { change: 0, new: true }).is_some() {
            return Err(body_twice(body.id));
        }
    }
    for (id, change) in &commit.references {
        gains.entry(*id).or_default().change += i64::from(*change);
    }
    Ok(gains)
}

/// Tests one body's gain against the references it has, `None` when it is not there; answers what it has then.
///
/// # Errors
/// [`EngineError::Damaged`] when a new body is there already, another is not, or references go below 0.
pub fn check_references(id: BodyId, there: Option<i64>, gain: Gain) -> Result<i64, EngineError> {
    let had = match (there, gain.new) {
        (Some(had), false) => had,
        (None, true) => 0,
        (Some(_), true) => return Err(body_twice(id)),
        (None, false) => return Err(no_body(id)),
    };
    let has = had.saturating_add(gain.change);
    if has < 0 {
        let why = format!("body {} would lose more references than it has", id.0);
        return Err(EngineError::Damaged(why));
    }
    Ok(has)
}

/// The error for a body that is not in the database.
pub fn no_body(id: BodyId) -> EngineError {
    EngineError::Damaged(format!("body {} is not in the database", id.0))
}

fn body_twice(id: BodyId) -> EngineError {
    EngineError::Damaged(format!("body {} is in the database already", id.0))
}
