//! Who won a round: pure, from what each client was answered.
//!
//! # Invariants
//! - By the *plain rule* a client has won a message when its STORE was answered OK and the message is not in MODIFIED:
//!   what most programs look at.
//! - By the *proof rule* it has won when, besides, the last untagged FETCH in its answer shows the message with a
//!   mod-sequence above the condition and with exactly its own mark.
//!
//! # Standards
//! RFC 7162 §3.1.3 (UNCHANGEDSINCE, MODIFIED).

use std::collections::BTreeMap;

use client::store::{Wanted, judge};
use client::{Answer, Fetched};
use imap::command::StoreAction;
use imap::encode::Status;
use imap::flag::Flag;
use imap::number::{ModSeq, Uid};
use imap::response::FlagName;
use imap::set::UidSet;

/// What a round came to for one message; clients by their numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Outcome {
    /// Who has won by the plain rule.
    pub(super) plain: Vec<usize>,
    /// Who has won by the proof rule.
    pub(super) proven: Vec<usize>,
    /// Who was told neither OK nor MODIFIED.
    pub(super) refused: Vec<usize>,
}

/// The outcome for one message; `marks` and `answers` are in the order of the clients.
pub(super) fn outcome(uid: Uid, since: ModSeq, marks: &[Vec<Flag>], answers: &[Answer]) -> Outcome {
    let this = UidSet::from_ranges([(uid.value(), uid.value())]);
    let mut outcome = Outcome::default();
    for (client, (mark, answer)) in marks.iter().zip(answers).enumerate() {
        if answer.modified().contains(uid.value()) {
            continue;
        }
        if answer.status != Status::Ok {
            outcome.refused.push(client);
            continue;
        }
        outcome.plain.push(client);
        // Before each round a message has no mark: exactly mine is what a replacement would leave.
        let wanted = Wanted { since, action: StoreAction::Replace, flags: mark };
        if !judge(&this, &wanted, answer).won.is_empty() {
            outcome.proven.push(client);
        }
    }
    outcome
}

impl Outcome {
    /// Whether a message that was told to have one winner ends otherwise than that one was told.
    pub(super) fn ends_otherwise(&self, marks: &[Vec<Flag>], end: &[FlagName]) -> bool {
        match self.plain.as_slice() {
            [winner] => marks.get(*winner).is_none_or(|mark| !is_exactly(end, mark)),
            _ => false,
        }
    }
}

fn is_exactly(flags: &[FlagName], mark: &[Flag]) -> bool {
    let has = |flag: &Flag| flags.contains(&FlagName::Flag(flag.clone()));
    let named = |flag: &FlagName| match flag {
        FlagName::Flag(flag) => mark.contains(flag),
        FlagName::Recent | FlagName::Any | FlagName::Other(_) => true,
    };
    mark.iter().all(has) && flags.iter().all(named)
}

/// What the answer says last of each message, with both flags and mod-sequence.
pub(super) fn states(answer: &Answer) -> BTreeMap<Uid, (Vec<FlagName>, ModSeq)> {
    let told = |fetched: Fetched| Some((fetched.uid, (fetched.flags?, fetched.mod_seq?)));
    answer.fetched().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::Conversation;
    use imap::command::CommandBody;

    fn answer(lines: &str) -> Answer {
        let mut conversation = Conversation::default();
        conversation.receive(b"* OK hello\r\n").unwrap();
        let ticket = conversation.submit(CommandBody::Noop).unwrap();
        conversation.receive(lines.replace('\n', "\r\n").as_bytes()).unwrap();
        conversation.take_answer(ticket).unwrap()
    }

    fn mark(name: &str) -> Vec<Flag> {
        match FlagName::new(name) {
            FlagName::Flag(flag) => vec![flag],
            other => panic!("{other:?}"),
        }
    }

    fn judged(marks: &[&str], answers: &[&str]) -> Outcome {
        let marks: Vec<_> = marks.iter().map(|name| mark(name)).collect();
        let answers: Vec<_> = answers.iter().map(|lines| answer(lines)).collect();
        outcome(Uid::new(5).unwrap(), ModSeq::new(10).unwrap(), &marks, &answers)
    }

    #[test]
    fn one_winner_is_told_by_both_rules() {
        let won = "* 1 FETCH (UID 5 FLAGS ($a) MODSEQ (11))\nh1 OK done\n";
        let lost = "* 1 FETCH (UID 5 FLAGS ($a) MODSEQ (11))\nh1 OK [MODIFIED 5] no\n";
        let refused = "h1 NO [INUSE] later\n";
        let both = "h1 NO [MODIFIED 5] no\n";
        let found = judged(&["$a", "$b", "$c", "$d"], &[won, lost, refused, both]);
        assert_eq!(found, Outcome { plain: vec![0], proven: vec![0], refused: vec![2] });
        let marks = [mark("$a"), mark("$b")];
        assert!(!found.ends_otherwise(&marks, &[FlagName::new("$A"), FlagName::Recent]));
        assert!(found.ends_otherwise(&marks, &[FlagName::new("$b")]));
        assert!(found.ends_otherwise(&marks, &[FlagName::new("$a"), FlagName::new("$b")]));
        assert!(found.ends_otherwise(&marks, &[]));
    }

    #[test]
    fn a_loser_that_is_told_ok_is_a_second_winner_and_its_proof_fails() {
        // The change of another, told in answer to one's own; and both marks at once.
        let first = "* 1 FETCH (UID 5 FLAGS ($a) MODSEQ (11))\nh1 OK done\n";
        for second in [
            "* 1 FETCH (UID 5 FLAGS ($a) MODSEQ (11))\nh1 OK done\n",
            "* 1 FETCH (UID 5 FLAGS ($a $b) MODSEQ (12))\nh1 OK done\n",
            "* 1 FETCH (UID 5 MODSEQ (11))\nh1 OK done\n",
            "h1 OK done\n",
        ] {
            let found = judged(&["$a", "$b"], &[first, second]);
            assert_eq!((found.plain, found.proven), (vec![0, 1], vec![0]), "{second}");
        }
    }

    #[test]
    fn two_that_replace_each_other_both_have_a_proof() {
        let first = "* 1 FETCH (UID 5 FLAGS ($a) MODSEQ (11))\nh1 OK done\n";
        let second = "* 1 FETCH (UID 5 FLAGS ($b) MODSEQ (12))\nh1 OK done\n";
        assert_eq!(judged(&["$a", "$b"], &[first, second]).proven, [0, 1]);
    }

    #[test]
    fn modified_names_messages_one_by_one() {
        let some = "* 1 FETCH (UID 5 FLAGS ($a) MODSEQ (11))\nh1 OK [MODIFIED 4,6:9] some\n";
        assert_eq!(judged(&["$a"], &[some]).plain, [0]);
        let none = "h1 OK [MODIFIED 3:6] none\n";
        assert_eq!(judged(&["$a"], &[none]).plain, [0_usize; 0]);
    }
}
