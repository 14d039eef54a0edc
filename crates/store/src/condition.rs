//! The condition of a STORE, and nothing else: may this write be done to this message?
//!
//! # Invariants
//! - It is tested here only, against the very state that the write is applied to [H2].
//! - Two writes with the same condition that would each change the same message's keywords never both pass.
//!
//! # Standards
//! RFC 7162 §3.1.3 ("the mod-sequence of every metadata item of the message affected by the STORE is equal to
//! or less than the specified UNCHANGEDSINCE value") and §3.1.12 (spurious failures are to be avoided).

use crate::flags::{FlagBit, FlagSet};
use crate::message::Message;
use imap::command::StoreAction;
use imap::number::ModSeqOrZero;

/// What a STORE names, as far as the condition is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affected {
    pub(crate) action: StoreAction,
    /// The flags named that the mailbox knows.
    pub(crate) named: FlagSet,
    /// Whether a keyword is named that the mailbox has never seen.
    pub(crate) names_new_keyword: bool,
    /// The mailbox's setting `conflicts = message`.
    pub(crate) by_message: bool,
}

impl Affected {
    /// Whether the STORE may be done to this message [S-62]. That a flag is already as wanted makes no
    /// difference: whoever asks did not know it [S-81].
    ///
    /// - `FLAGS` (replace) and anything that names `\Deleted` is about the whole message: its MODSEQ counts.
    /// - `±FLAGS` with keywords: the greatest item of all keywords counts, since workers claim with keywords
    ///   of their own and two claims must conflict.
    /// - each other system flag that `±FLAGS` names counts with its own item [S-76].
    /// - 0 passes only for keywords that this message has never had; system flags always exist, and
    ///   `FLAGS` touches them all [S-73, S-74].
    pub(crate) fn passes(&self, message: &Message, condition: ModSeqOrZero) -> bool {
        let since = condition.value();
        let whole = self.by_message
            || self.action == StoreAction::Replace
            || !self.named.intersection(FlagSet::DELETED).is_empty();
        if whole {
            return message.mod_seq.value() <= since;
        }
        let keywords = self.named.intersection(FlagSet::KEYWORDS);
        let system = self.named.without(FlagSet::KEYWORDS);
        if since == 0 {
            let never_had = |bit: FlagBit| !message.may_have_had(bit);
            return system.is_empty() && keywords.iter().all(never_had);
        }
        let names_keywords = !keywords.is_empty() || self.names_new_keyword;
        (!names_keywords || message.keyword_item().value() <= since)
            && system.iter().all(|bit| message.item(bit).value() <= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::BodyId;
    use imap::command::DateTime;
    use imap::flag::SystemFlag;
    use imap::number::{ModSeq, Uid};

    const K1: FlagSet = FlagSet(1 << 8);
    const K2: FlagSet = FlagSet(1 << 9);
    const FLAGGED: FlagSet = FlagSet::of(SystemFlag::Flagged);

    fn at(n: u64) -> ModSeq {
        ModSeq::new(n).unwrap()
    }

    /// Arrived at 10 without flags.
    fn fresh() -> Message {
        Message {
            uid: Uid::MIN,
            flags: FlagSet::EMPTY,
            mod_seq: at(10),
            arrival: at(10),
            items: None,
            internal_date: DateTime { unix: 0, zone_minutes: 0 },
            save_date: 0,
            size: 0,
            body: BodyId(0),
        }
    }

    fn passes(m: &Message, action: StoreAction, named: FlagSet, since: u64) -> bool {
        let affected = Affected { action, named, names_new_keyword: false, by_message: false };
        affected.passes(m, ModSeqOrZero::new(since).unwrap())
    }

    #[test]
    fn equal_passes_and_less_fails() {
        // [S-62]
        for action in [StoreAction::Add, StoreAction::Remove, StoreAction::Replace] {
            for named in [K1, FLAGGED, FlagSet::DELETED] {
                assert!(passes(&fresh(), action, named, 10));
                assert!(!passes(&fresh(), action, named, 9));
                assert!(passes(&fresh(), action, named, ModSeq::MAX.value()));
            }
        }
    }

    #[test]
    fn another_system_flag_does_not_spoil_a_claim() {
        // [S-76]
        let seen = fresh().with_flags(FlagSet::SEEN, FlagSet::EMPTY, at(20));
        assert!(passes(&seen, StoreAction::Add, K1, 10));
        assert!(passes(&seen, StoreAction::Add, FLAGGED, 10));
        assert!(!passes(&seen, StoreAction::Add, FlagSet::SEEN, 19));
        assert!(passes(&seen, StoreAction::Add, FlagSet::SEEN, 20));
        assert!(!passes(&seen, StoreAction::Replace, K1, 19));
        assert!(
            !passes(&seen, StoreAction::Add, FlagSet::DELETED, 19),
            "deleting is about the whole"
        );
    }

    #[test]
    fn keywords_are_one_domain() {
        let claimed = fresh().with_flags(K1, FlagSet::EMPTY, at(20));
        assert!(!passes(&claimed, StoreAction::Add, K2, 19));
        assert!(passes(&claimed, StoreAction::Add, K2, 20));
        assert!(
            !passes(&claimed, StoreAction::Add, K1, 19),
            "already as wanted is still a conflict [S-81]"
        );
        assert!(passes(&claimed, StoreAction::Add, FLAGGED, 10));
        let new = Affected {
            action: StoreAction::Add,
            named: FlagSet::EMPTY,
            names_new_keyword: true,
            by_message: false,
        };
        assert!(!new.passes(&claimed, ModSeqOrZero::new(19).unwrap()));
        assert!(new.passes(&claimed, ModSeqOrZero::ZERO), "this message never had it");
    }

    #[test]
    fn zero_passes_only_for_keywords_never_had() {
        // [S-73] [S-74] [S-75]
        assert!(passes(&fresh(), StoreAction::Add, K1, 0));
        assert!(!passes(&fresh(), StoreAction::Add, FLAGGED, 0));
        assert!(!passes(&fresh(), StoreAction::Add, K1.union(FLAGGED), 0));
        assert!(!passes(&fresh(), StoreAction::Replace, K1, 0));
        let had =
            fresh().with_flags(K1, FlagSet::EMPTY, at(20)).with_flags(FlagSet::EMPTY, K1, at(21));
        assert!(!passes(&had, StoreAction::Add, K1, 0));
        assert!(passes(&had, StoreAction::Add, K2, 0));
    }

    #[test]
    fn the_setting_conflicts_message_compares_the_message_always() {
        let seen = fresh().with_flags(FlagSet::SEEN, FlagSet::EMPTY, at(20));
        let affected = Affected {
            action: StoreAction::Add,
            named: K1,
            names_new_keyword: false,
            by_message: true,
        };
        assert!(!affected.passes(&seen, ModSeqOrZero::new(19).unwrap()));
        assert!(affected.passes(&seen, ModSeqOrZero::new(20).unwrap()));
        assert!(!affected.passes(&seen, ModSeqOrZero::ZERO));
    }
}
