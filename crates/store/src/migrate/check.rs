//! Whether what came is what was there.

use super::{At as _, MigrateError, Migration};
use crate::engine::{Engine, EngineError, LogId, MailboxId};
use crate::flags::Keywords;
use crate::mailbox::MailboxState;
use crate::open::OpenMailbox;

impl Migration<'_> {
    /// Compares a mailbox, message by message, and its history.
    pub(super) fn check_mailbox(
        &self,
        name: &str,
        id: MailboxId,
        source: &MailboxState,
    ) -> Result<(), MigrateError> {
        let log = LogId::from(id);
        let what = || format!("mailbox {} of `{name}`", id.number);
        let differs = |what| MigrateError::Differs { account: name.into(), log, what };
        let open = OpenMailbox::load(self.to.engine, id, Keywords::COUNT_MAX).in_target(what)?;
        let target = open.ok_or_else(|| differs("that it is there"))?.published.state();
        let numbers = |state: &MailboxState| {
            (state.uid_validity(), state.uid_next(), state.highest_mod_seq())
        };
        if numbers(source) != numbers(&target) {
            return Err(differs("UIDVALIDITY, UIDNEXT or HIGHESTMODSEQ"));
        }
        if !source.tree().iter().eq(target.tree().iter()) {
            return Err(differs("a message"));
        }
        let here = history(self.from.engine, log).in_source(what)?;
        let there = history(self.to.engine, log).in_target(what)?;
        if here != there {
            return Err(differs("the history of expunges"));
        }
        Ok(())
    }
}

/// Up to where it was forgotten, and a checksum of what is left.
fn history(engine: &dyn Engine, log: LogId) -> Result<(u64, u32), EngineError> {
    let mut sum = crc32fast::Hasher::new();
    let forgotten = engine.history(log, 0, &mut |seq, octets| {
        sum.update(&seq.to_be_bytes());
        sum.update(octets);
        Ok(())
    })?;
    Ok((forgotten, sum.finalize()))
}
