//! Whether what came is what was there.

use super::{At as _, MigrateError, Migration, Whose};
use crate::engine::{AccountId, Engine, EngineError, LogId, MailboxId};
use crate::flags::Keywords;
use crate::mailbox::MailboxState;
use crate::open::OpenMailbox;

impl Migration<'_> {
    /// Compares a mailbox, message by message, its history, and reads the octets that came.
    pub(super) fn check_mailbox(
        &self,
        whose: Whose<'_>,
        id: MailboxId,
        source: &MailboxState,
    ) -> Result<(), MigrateError> {
        let log = LogId::from(id);
        let what = || whose.to_string();
        let differs = |what| MigrateError::Differs { whose: whose.to_string(), what };
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
        self.check_bodies(whose, source.tree())
    }

    /// Compares what an account has beside its mailboxes: names, rights, limits, and how much it has stored.
    pub(super) fn check_account(
        &self,
        whose: Whose<'_>,
        account: AccountId,
    ) -> Result<(), MigrateError> {
        let what = || whose.to_string();
        let differs = |what| MigrateError::Differs { whose: whose.to_string(), what };
        let log = LogId::from(account);
        let here = octets(self.from.engine, log).in_source(what)?;
        let there = octets(self.to.engine, log).in_target(what)?;
        if here != there {
            return Err(differs("what they are"));
        }
        let here = self.from.engine.usage(account).in_source(what)?;
        if here != self.to.engine.usage(account).in_target(what)? {
            return Err(differs("how much the account has stored"));
        }
        Ok(())
    }
}

/// Checksums of a log's pages and of its deltas.
fn octets(engine: &dyn Engine, log: LogId) -> Result<(u32, u32), EngineError> {
    let (mut pages, mut deltas) = (crc32fast::Hasher::new(), crc32fast::Hasher::new());
    engine.load(log, &mut add(&mut pages), &mut add(&mut deltas))?;
    Ok((pages.finalize(), deltas.finalize()))
}

/// Up to where it was forgotten, and a checksum of what is left.
fn history(engine: &dyn Engine, log: LogId) -> Result<(u64, u32), EngineError> {
    let mut sum = crc32fast::Hasher::new();
    let forgotten = engine.history(log, 0, &mut add(&mut sum))?;
    Ok((forgotten, sum.finalize()))
}

fn add(sum: &mut crc32fast::Hasher) -> impl FnMut(u64, &[u8]) -> Result<(), EngineError> {
    |number, octets| {
        sum.update(&number.to_be_bytes());
        sum.update(octets);
        Ok(())
    }
}
