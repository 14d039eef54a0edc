//! `apply` on the mailbox of the requirement list: UIDs 11–15 with mod-sequences 101–105.

use super::*;
use crate::engine::{AccountId, MailboxId};
use imap::flag::{Keyword, SystemFlag};
use imap::number::UidValidity;

fn flag(name: &str) -> Flag {
    let system = SystemFlag::ALL.into_iter().find(|f| f.as_str() == name);
    system.map_or_else(|| Flag::Keyword(Keyword::new(name).unwrap()), Flag::System)
}

fn arrival(flags: &[&str]) -> Arrival {
    Arrival {
        flags: flags.iter().map(|f| flag(f)).collect(),
        internal_date: DateTime { unix: 0, zone_minutes: 0 },
        size: 10,
        body: BodyId(1),
    }
}

/// UID 11 (), 12 (\Seen), 13 (\Deleted), 14 ($Work), 15 (), with mod-sequences 101 to 105.
fn fixture() -> MailboxState {
    let id = MailboxId { account: AccountId(1), number: 1 };
    let mut state = MailboxState::unborn(id, 120)
        .advance(&birth(UidValidity::new(77).unwrap(), &Acl::default()))
        .unwrap();
    state.uid_next = 11;
    for (n, flags) in [&[][..], &["\\Seen"], &["\\Deleted"], &["$Work"], &[]].iter().enumerate() {
        state.highest = ModSeq::new(100 + n as u64).unwrap();
        let (delta, _) = state.append(0, &[arrival(flags)], Hand::SERVER, 0).unwrap();
        state = state.advance(&delta).unwrap();
    }
    state
}

fn set(ranges: &[(u32, u32)]) -> UidSet {
    UidSet::from_ranges(ranges.iter().copied())
}

fn store(
    state: &MailboxState,
    uids: &UidSet,
    condition: Option<u64>,
    action: StoreAction,
    flags: &[&str],
) -> (MailboxState, Option<ModSeq>, Sorted) {
    let flags: Vec<_> = flags.iter().map(|f| flag(f)).collect();
    let condition = condition.map(|n| ModSeqOrZero::new(n).unwrap());
    let store = StoreFlags { uids, condition, action, flags: &flags, by: Hand::SERVER };
    let (delta, sorted) = state.store_flags(0, store).unwrap();
    let mod_seq = delta.as_ref().map(|d| d.mod_seq);
    let next = delta.map_or_else(
        || state.clone(),
        |d| {
            let back = Delta::decode(&d.encode()).unwrap();
            assert_eq!(back, d, "what is stored comes back");
            state.advance(&back).unwrap()
        },
    );
    (next, mod_seq, sorted)
}

use StoreAction::{Add, Remove, Replace};

#[test]
fn a_real_change_gets_a_new_mod_sequence_and_a_no_op_does_not() {
    // [S-12] [S-13]
    let (next, mod_seq, sorted) = store(&fixture(), &set(&[(11, 12)]), None, Add, &["\\Seen"]);
    assert_eq!(mod_seq, ModSeq::new(106));
    assert_eq!((sorted.changed, sorted.unchanged), (set(&[(11, 11)]), set(&[(12, 12)])));
    assert_eq!(next.tree.get(Uid::new(12).unwrap()).unwrap().mod_seq.value(), 102);
    let (same, none, _) = store(&next, &set(&[(11, 12)]), None, Add, &["\\Seen"]);
    assert_eq!((none, same.highest), (None, next.highest));
}

#[test]
fn each_store_has_a_mod_sequence_of_its_own() {
    // [S-9] [S-10]
    let (a, first, _) = store(&fixture(), &set(&[(11, 11)]), None, Add, &["x"]);
    let (_, second, _) = store(&a, &set(&[(12, 12)]), None, Add, &["y"]);
    assert!(second > first);
}

#[test]
fn the_losers_are_sorted_out_and_the_rest_goes_on() {
    // [S-62] [S-64] [S-65]
    let (next, _, sorted) = store(&fixture(), &set(&[(11, 11), (14, 15)]), Some(102), Add, &["x"]);
    assert_eq!((sorted.changed, sorted.failed), (set(&[(11, 11)]), set(&[(14, 15)])));
    assert_eq!(next.tree.get(Uid::new(14).unwrap()).unwrap().mod_seq.value(), 104);
}

#[test]
fn uids_that_are_not_there_are_missing_not_failed() {
    // [S-71]
    let (_, _, sorted) =
        store(&fixture(), &set(&[(13, 13), (9999, u32::MAX)]), Some(105), Add, &["x"]);
    assert_eq!(sorted.missing, set(&[(9999, u32::MAX)]));
    assert!(sorted.failed.is_empty());
}

#[test]
fn a_second_claim_fails_even_if_the_flag_is_already_as_wanted() {
    // [S-79] [S-81]
    let one = set(&[(11, 11)]);
    for flags in [["$Taken", "$Taken"], ["$c1", "$c2"], ["\\Flagged", "\\Flagged"]] {
        for action in [Add, Replace] {
            let (next, won, _) = store(&fixture(), &one, Some(101), action, &flags[..1]);
            assert!(won.is_some());
            let (_, again, sorted) = store(&next, &one, Some(101), action, &flags[1..]);
            assert_eq!((again, sorted.failed), (None, one.clone()), "{flags:?} {action:?}");
        }
    }
}

#[test]
fn a_passing_no_op_bumps_nothing() {
    // [S-80]
    let (_, mod_seq, sorted) = store(&fixture(), &set(&[(12, 12)]), Some(102), Add, &["\\Seen"]);
    assert_eq!((mod_seq, sorted.unchanged), (None, set(&[(12, 12)])));
}

#[test]
fn replace_sets_and_clears() {
    let (next, _, _) = store(&fixture(), &set(&[(12, 14)]), None, Replace, &["\\Draft"]);
    for (_, m) in next.tree.iter_uids(&set(&[(12, 14)])) {
        assert_eq!(m.flags, FlagSet::of(SystemFlag::Draft));
    }
    let (next, _, sorted) = store(&next, &set(&[(11, 15)]), None, Remove, &["\\Draft", "unknown"]);
    assert_eq!(sorted.changed, set(&[(12, 14)]));
    assert!(
        next.keywords.bit(&Keyword::new("unknown").unwrap()).is_none(),
        "removing makes no keyword"
    );
}

#[test]
fn each_message_gets_what_it_lacks_whatever_the_others_have() {
    let flagged = FlagSet::SEEN.union(FlagSet::of(SystemFlag::Flagged));
    for action in [Add, Replace] {
        let (next, _, sorted) =
            store(&fixture(), &set(&[(12, 15)]), None, action, &["\\Seen", "\\Flagged"]);
        assert_eq!(sorted.changed, set(&[(12, 15)]));
        for (_, m) in next.tree.iter_uids(&set(&[(12, 12), (15, 15)])) {
            assert_eq!(m.flags, flagged, "{action:?} on {}", m.uid);
        }
        for (_, m) in next.tree.iter_uids(&set(&[(13, 14)])) {
            assert_eq!(m.flags == flagged, action == Replace, "{action:?} on {}", m.uid);
            assert_eq!(m.flags.intersection(flagged), flagged, "{action:?} on {}", m.uid);
        }
    }
}

#[test]
fn a_copy_takes_the_flags_along() {
    let (taken, arrivals) = fixture().arrivals_from(&set(&[(12, 12), (14, 20)]), None);
    assert_eq!(taken, set(&[(12, 12), (14, 15)]));
    let flags: Vec<_> = arrivals.into_iter().map(|a| a.flags).collect();
    assert_eq!(flags, [vec![flag("\\Seen")], vec![flag("$Work")], vec![]]);
}

#[test]
fn arrivals_and_expunges_share_the_counter() {
    // [S-14] [S-16] [S-20] [S-136]
    let state = fixture();
    let gone = state.expunge(0, None).unwrap().unwrap();
    assert_eq!((gone.mod_seq.value(), &gone.expunged), (106, &set(&[(13, 13)])));
    let state = state.advance(&gone).unwrap();
    let (delta, uids) =
        state.append(0, &[arrival(&["$New"]), arrival(&[])], Hand::SERVER, 0).unwrap();
    let state = state.advance(&delta).unwrap();
    assert_eq!((state.highest.value(), uids), (107, set(&[(16, 17)])));
    assert_eq!(state.uid_next, 18);
    assert!(state.expunge(0, None).unwrap().is_none());
    assert_eq!(state.expunge(0, Some(&set(&[(1, 5)]))).unwrap(), None);
}

#[test]
fn a_mailbox_at_its_keyword_limit_refuses_new_ones_only() {
    let mut state = fixture();
    state.keywords = Keywords::new(1);
    let work = [flag("$Work")];
    let more = [flag("$More")];
    let uids = set(&[(11, 11)]);
    let store =
        |flags| StoreFlags { uids: &uids, condition: None, action: Add, flags, by: Hand::SERVER };
    assert!(state.store_flags(0, store(&work)).is_ok());
    let (delta, _) = state.store_flags(0, store(&work)).unwrap();
    let state = state.advance(&delta.unwrap()).unwrap();
    assert!(matches!(state.store_flags(0, store(&more)), Err(Error::Limit(_))));
}

#[test]
fn mod_sequences_end_at_63_bits_with_a_clear_refusal() {
    // [S-8]
    let mut state = fixture();
    state.highest = ModSeq::MAX;
    let flags = [flag("x")];
    let uids = set(&[(11, 11)]);
    let store =
        StoreFlags { uids: &uids, condition: None, action: Add, flags: &flags, by: Hand::SERVER };
    assert!(matches!(state.store_flags(0, store), Err(Error::Limit(_))));
}

#[test]
fn a_state_answers_what_it_holds() {
    let state = fixture();
    assert_eq!((state.uid_next(), state.exists()), (16, 5));
    assert_eq!((state.unseen(), state.deleted(), state.size()), (4, 1, 50));
    assert_eq!(state.first_unseen(), Uid::new(11));
    let rest = state.advance(&state.expunge(0, None).unwrap().unwrap()).unwrap();
    assert_eq!((rest.exists(), rest.deleted(), rest.size()), (4, 0, 40));
    assert!(state.keywords().bit(&Keyword::new("$Work").unwrap()).is_some());
    assert!(!state.conflicts_by_message());
    let mut delta = state.next_delta(0).unwrap();
    delta.conflicts_by_message = Some(true);
    assert!(state.advance(&delta).unwrap().conflicts_by_message());
}

#[test]
fn a_delta_that_does_not_follow_is_damage() {
    let state = fixture();
    let (delta, _) = state.append(0, &[arrival(&[]), arrival(&[])], Hand::SERVER, 0).unwrap();
    for (first, second) in [(15, 17), (16, 18), (17, 16), (16, 16)] {
        let mut delta = delta.clone();
        delta.arrivals[0].uid = Uid::new(first).unwrap();
        delta.arrivals[1].uid = Uid::new(second).unwrap();
        assert!(state.advance(&delta).is_err(), "UIDs {first} and {second} after 15");
    }
    let empty = state.remove(0, set(&[(11, 15)])).unwrap().unwrap();
    let empty = state.advance(&empty).unwrap();
    let mut delta = empty.next_delta(0).unwrap();
    delta.mod_seq = empty.highest;
    assert!(empty.advance(&delta).is_err(), "the counter of an emptied mailbox goes on");
    let mut delta = state.next_delta(0).unwrap();
    delta.mod_seq = state.highest;
    assert!(state.advance(&delta).is_err());
    let mut delta = state.next_delta(0).unwrap();
    delta.uid_next = 3;
    assert!(state.advance(&delta).is_err());
}
