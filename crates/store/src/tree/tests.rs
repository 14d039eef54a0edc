//! The tree against a plain list, with random edits.

use super::*;
use crate::engine::BodyId;
use crate::flags::FlagSet;
use imap::command::DateTime;
use imap::number::ModSeq;

fn message(uid: u32, mod_seq: u64) -> Message {
    Message {
        uid: Uid::new(uid).unwrap(),
        flags: FlagSet::EMPTY,
        mod_seq: ModSeq::new(mod_seq).unwrap(),
        arrival: ModSeq::new(mod_seq).unwrap(),
        items: None,
        internal_date: DateTime { unix: 0, zone_minutes: 0 },
        save_date: 0,
        size: u64::from(uid),
        body: BodyId(u64::from(uid)),
    }
}

/// A small generator of numbers, so that a failing round replays.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap() % below.max(1)
    }
}

fn check(tree: &Tree, plain: &[Message]) {
    assert_eq!(tree.len() as usize, plain.len());
    let walked: Vec<_> = tree.iter().collect();
    for (i, (m, (seq, found))) in plain.iter().zip(&walked).enumerate() {
        assert_eq!(seq.value() as usize, i + 1);
        assert_eq!(*found, m);
    }
    let summary = plain.iter().map(Summary::of).fold(Summary::default(), Summary::join);
    assert_eq!(tree.summary(), summary);
}

#[test]
fn random_edits_agree_with_a_list() {
    let mut dice = Dice(7);
    let (mut tree, mut plain, mut next, mut mod_seq) = (Tree::new(), Vec::new(), 1, 1);
    for round in 0..400 {
        let (old_tree, old_plain) = (tree.clone(), plain.clone());
        mod_seq += 1;
        match dice.roll(3) {
            0 => {
                let new: Vec<_> =
                    (0..dice.roll(300)).map(|i| message(next + i * 2, mod_seq)).collect();
                next = new.last().map_or(next, |m| m.uid.value() + 1 + dice.roll(3));
                tree = tree.with_appended(&new);
                plain.extend(new);
            }
            kind => {
                let low = 1 + dice.roll(next);
                let spread = if round % 5 == 0 { next } else { 40 };
                let set = UidSet::from_ranges([
                    (low, low + dice.roll(spread)),
                    (low / 2 + 1, low / 2 + 2),
                ]);
                if kind == 1 {
                    tree = tree.without(&set);
                    plain.retain(|m: &Message| !set.contains(m.uid.value()));
                } else {
                    let mark = ModSeq::new(mod_seq).unwrap();
                    let change = |m: &Message| m.with_flags(FlagSet::SEEN, FlagSet::EMPTY, mark);
                    tree = tree.with_updated(&set, &mut |m| change(m));
                    for m in plain.iter_mut().filter(|m| set.contains(m.uid.value())) {
                        *m = change(m);
                    }
                }
            }
        }
        check(&tree, &plain);
        let gone: UidSet =
            old_plain.iter().map(|m| m.uid).filter(|u| tree.get(*u).is_none()).collect();
        assert_eq!(old_tree.removed_in(&tree), gone);
        let changed: Vec<_> = tree.changed_since(mod_seq - 1).map(|(_, m)| m.uid).collect();
        let plainly: Vec<_> =
            plain.iter().filter(|m| m.mod_seq.value() > mod_seq - 1).map(|m| m.uid).collect();
        assert_eq!(changed, plainly);
        let numbers = UidSet::from_ranges([(2, 5), (dice.roll(500) + 1, 600)]);
        let here = plain.iter().map(|m| m.uid).filter(|uid| numbers.contains(uid.value()));
        assert_eq!(tree.existing(&numbers), here.collect());
        let by_number: Vec<_> = tree.iter_seqs(&numbers).map(|(_, m)| m.uid).collect();
        let plainly = plain
            .iter()
            .enumerate()
            .filter(|(i, _)| numbers.contains(u32::try_from(*i).unwrap() + 1));
        assert_eq!(by_number, plainly.map(|(_, m)| m.uid).collect::<Vec<_>>());
        for m in plain.iter().step_by(37) {
            let seq = tree.seq_of(m.uid).unwrap();
            assert_eq!(tree.uid_at(seq), Some(m.uid));
        }
    }
}

#[test]
fn a_huge_set_costs_what_is_found() {
    let messages: Vec<_> = (1..=1000).map(|n| message(n, 1)).collect();
    let tree = Tree::new().with_appended(&messages);
    let all = UidSet::from_ranges([(1, u32::MAX)]);
    assert_eq!(tree.iter_uids(&all).count(), 1000);
    assert_eq!(tree.existing(&all).to_string(), "1:1000");
}

#[test]
fn numbers_and_uids_stand_for_the_same_messages() {
    let mut dice = Dice(11);
    let mut uid = 0;
    let plain: Vec<_> = (0..700)
        .map(|_| {
            uid += 1 + dice.roll(3) * dice.roll(2);
            message(uid, 1)
        })
        .collect();
    let tree = Tree::new().with_appended(&plain);
    for _ in 0..300 {
        let some = |dice: &mut Dice, below| {
            UidSet::from_ranges((0..dice.roll(4)).map(|_| {
                let low = 1 + dice.roll(below);
                (low, low + dice.roll(50))
            }))
        };
        let numbers = some(&mut dice, 720);
        let (by_number, spans) = (tree.iter_seqs(&numbers), tree.spans_of_seqs(&numbers));
        let named: Vec<_> = by_number.map(|(seq, message)| (seq, message.uid)).collect();
        let spanned: Vec<_> = tree.iter_uids(&spans).map(|(seq, m)| (seq, m.uid)).collect();
        assert_eq!(named, spanned);
        let uids = some(&mut dice, uid + 20);
        let seqs = tree.iter_uids(&uids).map(|(seq, _)| (seq.value(), seq.value()));
        assert_eq!(tree.seqs_of_uids(&uids), UidSet::from_ranges(seqs));
    }
}
