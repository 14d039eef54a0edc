//! One log: pages, deltas and history as they are, in commits of bounded size.
//!
//! History that is older than the pages has no delta any more; it comes with empty ones, which the fold removes.

use super::bodies::References;
use super::{At as _, MigrateError, Migration, Whose, is_whole};
use crate::engine::{
    Append, Commit, Engine, EngineError, Fold, LogHead, LogId, MailboxId, Numbered,
};
use crate::flags::Keywords;
use crate::open::OpenMailbox;

/// Octets of deltas and history in one commit.
const COMMIT_OCTETS: usize = 1 << 20;
/// References in one commit.
const COMMIT_REFERENCES: usize = 20_000;

impl Migration<'_> {
    /// A mailbox with the bodies of its messages.
    pub(super) fn mailbox(&mut self, whose: Whose<'_>, id: MailboxId) -> Result<(), MigrateError> {
        let log = LogId::from(id);
        let what = || whose.to_string();
        let head = self.from.engine.head(log).in_source(what)?.unwrap_or_default();
        if head.doubtful {
            (self.renew)(id);
        }
        let open = OpenMailbox::load(self.from.engine, id, Keywords::COUNT_MAX).in_source(what)?;
        let missing = || EngineError::Damaged("its name is there, and it is not".into());
        let state = open.ok_or_else(missing).in_source(what)?.published.state();
        let there = self.to.engine.head(log).in_target(what)?.unwrap_or_default();
        let head = self.from.engine.head(log).in_source(what)?.unwrap_or_default();
        if !is_whole(head, there) {
            if self.is_there {
                return Err(MigrateError::Changed { whose: whose.to_string() });
            }
            let references = self.bodies(whose, state.tree())?;
            let mut last = Commit::default();
            self.refer(references, &mut last).in_target(what)?;
            self.log(whose, log, last)?;
        }
        self.check_mailbox(whose, id, &state)?;
        self.moved.mailboxes += 1;
        self.moved.messages += u64::from(state.exists());
        (self.tell)(whose.account, &self.moved);
        Ok(())
    }

    /// Leaves as many references as fit into one commit for the last one.
    fn refer(&self, mut references: References, last: &mut Commit) -> Result<(), EngineError> {
        while references.len() > COMMIT_REFERENCES {
            let rest = references.split_off(COMMIT_REFERENCES);
            let some = std::mem::replace(&mut references, rest);
            let commit = Commit { references: some, now: self.now, ..Commit::default() };
            self.to.engine.commit(&commit)?;
        }
        last.references = references;
        Ok(())
    }

    /// Copies the log, unless it is whole there; `last` rides with the commit that makes it so.
    pub(super) fn log(
        &mut self,
        whose: Whose<'_>,
        log: LogId,
        last: Commit,
    ) -> Result<(), MigrateError> {
        let what = || whose.to_string();
        let (mut pages, mut deltas) = (Numbered::new(), Numbered::new());
        let head = self.from.engine.load(log, &mut keep(&mut pages), &mut keep(&mut deltas));
        let Some(head) = head.in_source(what)? else { return Ok(()) };
        if head.doubtful {
            return Err(MigrateError::Doubtful(log));
        }
        let there = self.to.engine.head(log).in_target(what)?;
        if there.is_some_and(|there| is_whole(head, there)) {
            return Ok(());
        }
        if self.is_there {
            return Err(MigrateError::Changed { whose: whose.to_string() });
        }
        if there.is_some() {
            let commit = Commit { dropped: vec![log], now: self.now, ..Commit::default() };
            self.to.engine.commit(&commit).in_target(what)?;
        }
        let mut copy =
            Copy { to: self.to.engine, log, now: self.now, after: 0, octets: 0, ready: last };
        let forgotten = self.history(&mut copy, head, &mut deltas).in_source(what)?;
        for (seq, delta) in deltas {
            copy.push(seq, delta, None).in_target(what)?;
        }
        copy.ready.forgotten = vec![(log, forgotten)];
        if head.folded > 0 {
            copy.ready.folds =
                vec![Fold { log, base: None, seq: head.folded, pages, removed: Vec::new() }];
        }
        copy.flush().in_target(what)
    }

    /// The history, with the deltas that it came with; takes those from `deltas`. Answers up to where it was forgotten.
    fn history(
        &self,
        copy: &mut Copy<'_>,
        head: LogHead,
        deltas: &mut Numbered,
    ) -> Result<u64, EngineError> {
        let mut deltas_left = std::mem::take(deltas).into_iter().peekable();
        let mut last_folded = 0;
        let forgotten = self.from.engine.history(copy.log, 0, &mut |seq, octets| {
            if seq <= head.folded {
                last_folded = seq;
                return copy.push(seq, Vec::new(), Some(octets.to_vec()));
            }
            if last_folded < head.folded {
                last_folded = head.folded;
                copy.push(head.folded, Vec::new(), None)?;
            }
            while let Some((other, delta)) = deltas_left.next_if(|(other, _)| *other <= seq) {
                let history = (other == seq).then(|| octets.to_vec());
                copy.push(other, delta, history)?;
            }
            Ok(())
        })?;
        if last_folded < head.folded {
            copy.push(head.folded, Vec::new(), None)?;
        }
        deltas.extend(deltas_left);
        Ok(forgotten)
    }
}

fn keep(numbered: &mut Numbered) -> impl FnMut(u64, &[u8]) -> Result<(), EngineError> {
    |number, octets| {
        numbered.push((number, octets.to_vec()));
        Ok(())
    }
}

/// A log on its way.
struct Copy<'a> {
    to: &'a dyn Engine,
    log: LogId,
    now: i64,
    after: u64,
    octets: usize,
    /// What is not written yet.
    ready: Commit,
}

impl Copy<'_> {
    /// Adds a delta; what was there before is written when it is much, so that the last one is never written early.
    fn push(
        &mut self,
        seq: u64,
        delta: Vec<u8>,
        history: Option<Vec<u8>>,
    ) -> Result<(), EngineError> {
        if self.octets >= COMMIT_OCTETS {
            let appends = std::mem::take(&mut self.ready.appends);
            self.to.commit(&Commit { appends, now: self.now, ..Commit::default() })?;
            self.octets = 0;
        }
        self.octets += 32 + delta.len() + history.as_ref().map_or(0, Vec::len);
        self.ready.appends.push(Append { log: self.log, after: self.after, seq, delta, history });
        self.after = seq;
        Ok(())
    }

    /// Writes what is left, and with it what makes the log whole.
    fn flush(mut self) -> Result<(), EngineError> {
        self.ready.now = self.now;
        self.to.commit(&self.ready)
    }
}
