//! The mirror against servers that are played from a text.

use super::*;
use crate::conversation::Conversation;

/// Feeds the mirror with answers written down, and answers the commands that it sent.
struct Played {
    mirror: Mirror,
    conversation: Conversation,
    sent: Vec<String>,
    step: Step,
}

const QRESYNC: Abilities = Abilities { qresync: true, condstore: true };
const CONDSTORE: Abilities = Abilities { qresync: false, condstore: true };
const PLAIN: Abilities = Abilities { qresync: false, condstore: false };

impl Played {
    fn new(mut mirror: Mirror, abilities: Abilities) -> Self {
        let mut conversation = Conversation::default();
        conversation.receive(b"* OK hello\r\n").unwrap();
        let step = mirror.begin(abilities);
        Self { mirror, conversation, sent: Vec::new(), step }
    }

    /// The server says these lines to the command at hand; `OK` ends it.
    fn say(mut self, lines: &str) -> Self {
        let Step::Ask(body) = self.step else { panic!("nothing was asked: {:?}", self.step) };
        let ticket = self.conversation.submit(body).unwrap();
        let sent = String::from_utf8(self.conversation.take_output()).unwrap();
        let (tag, text) = sent.trim_end().split_once(' ').unwrap();
        self.sent.push(text.to_owned());
        let lines = lines.replace('\n', "\r\n").replace("TAG", tag);
        self.conversation.receive(lines.as_bytes()).unwrap();
        let answer = self.conversation.take_answer(ticket).unwrap();
        self.step = self.mirror.take(&answer);
        self
    }

    fn level(self) -> (Mirror, Delta, Vec<String>) {
        match self.step {
            Step::Level(delta) => (self.mirror, delta, self.sent),
            other => panic!("not level: {other:?}"),
        }
    }
}

fn state(flags: &str, mod_seq: u64) -> MessageState {
    let flags = flags.split_whitespace().map(str::to_owned).collect();
    MessageState { flags, mod_seq: ModSeq::new(mod_seq) }
}

fn known(mod_seq: u64) -> Mirror {
    let checkpoint = Checkpoint::stored(UidValidity::new(9).unwrap(), ModSeq::new(mod_seq));
    let messages = [(1, "", 10), (2, "\\Seen", 20), (5, "", 30)];
    let messages = messages.map(|(uid, flags, n)| (Uid::new(uid).unwrap(), state(flags, n)));
    Mirror::resume("INBOX", checkpoint, messages)
}

fn shown(mirror: &Mirror) -> Vec<(u32, String)> {
    mirror.messages().map(|(uid, state)| (uid.value(), state.flags.join(" "))).collect()
}

fn rows(rows: &[(u32, &str)]) -> Vec<(u32, String)> {
    rows.iter().map(|(uid, flags)| (*uid, (*flags).to_owned())).collect()
}

#[test]
fn qresync_takes_one_command_and_the_checkpoint_follows() {
    // [C-1, C-3, C-11, C-14, C-35]
    let played = Played::new(known(30), QRESYNC)
        .say("* ENABLED QRESYNC\nTAG OK\n")
        .say(
            "* 3 EXISTS\n* OK [UIDVALIDITY 9] x\n* OK [HIGHESTMODSEQ 44] x\n* VANISHED (EARLIER) 2,3:4\n\
             * 2 FETCH (UID 5 FLAGS (\\Flagged) MODSEQ (41))\n* 3 FETCH (UID 7 FLAGS () MODSEQ (44))\n\
             TAG OK [READ-ONLY] done\n",
        );
    let (mirror, delta, sent) = played.level();
    assert_eq!(sent, ["ENABLE QRESYNC", "EXAMINE INBOX (CONDSTORE QRESYNC (9 30))"]);
    assert_eq!(shown(&mirror), rows(&[(1, ""), (5, "\\Flagged"), (7, "")]));
    assert_eq!(delta.gone, UidSet::one(Uid::new(2).unwrap()));
    assert_eq!(delta.changed.len(), 2);
    assert_eq!(delta.commit().mod_seq(), ModSeq::new(44));
    assert!(mirror.reasons().is_empty());
}

#[test]
fn condstore_learns_what_is_gone_by_comparing() {
    // [C-3, C-4, C-8, C-25]
    let played = Played::new(known(30), CONDSTORE)
        .say("* 3 EXISTS\n* OK [UIDVALIDITY 9] x\n* OK [HIGHESTMODSEQ 44] x\nTAG OK done\n")
        .say("* 3 FETCH (UID 7 FLAGS () MODSEQ (44))\nTAG OK done\n")
        .say("* SEARCH 1 5 7\nTAG OK done\n");
    let (mirror, delta, sent) = played.level();
    assert_eq!(sent[0], "EXAMINE INBOX (CONDSTORE)");
    assert_eq!(sent[1], "UID FETCH 1:4294967295 (UID FLAGS MODSEQ) (CHANGEDSINCE 30)");
    assert_eq!(sent[2], "UID SEARCH ALL");
    assert_eq!(shown(&mirror), rows(&[(1, ""), (5, ""), (7, "")]));
    assert_eq!(delta.gone, UidSet::one(Uid::new(2).unwrap()));
}

#[test]
fn nothing_changed_is_one_command() {
    // [C-7]
    let said = "* 3 EXISTS\n* OK [UIDVALIDITY 9] x\n* OK [HIGHESTMODSEQ 30] x\nTAG OK done\n";
    let (_, delta, sent) = Played::new(known(30), CONDSTORE).say(said).level();
    assert_eq!((sent.len(), delta.changed.len(), delta.gone.is_empty()), (1, 0, true));
}

#[test]
fn another_uidvalidity_voids_everything() {
    // [C-5, C-6]
    let played = Played::new(known(30), CONDSTORE)
        .say("* 1 EXISTS\n* OK [UIDVALIDITY 10] x\n* OK [HIGHESTMODSEQ 3] x\nTAG OK done\n")
        .say("* 1 FETCH (UID 1 FLAGS (a) MODSEQ (2))\nTAG OK done\n");
    let (mirror, delta, sent) = played.level();
    assert_eq!(sent[1], "UID FETCH 1:4294967295 (UID FLAGS MODSEQ)");
    assert!(delta.anew && mirror.reasons() == [Reason::UidValidityChanged]);
    assert_eq!(shown(&mirror), rows(&[(1, "a")]));
    assert_eq!(delta.commit().mod_seq(), ModSeq::new(3));
}

#[test]
fn servers_without_mod_sequences_are_asked_for_everything() {
    // [C-1, C-2, C-9]: Purelymail answers HIGHESTMODSEQ 0; others say NOMODSEQ; a third ENABLEs nothing.
    for (abilities, select) in [
        (CONDSTORE, "* OK [HIGHESTMODSEQ 0] x\n"),
        (CONDSTORE, "* OK [NOMODSEQ] x\n"),
        (CONDSTORE, ""),
        (PLAIN, ""),
    ] {
        let played = Played::new(known(30), abilities)
            .say(&format!("* 2 EXISTS\n* OK [UIDVALIDITY 9] x\n{select}TAG OK done\n"))
            .say("* 1 FETCH (UID 1 FLAGS (\\Recent x))\n* 2 FETCH (UID 5 FLAGS ())\nTAG OK done\n");
        let (mirror, delta, sent) = played.level();
        assert_eq!(sent.last().unwrap(), "UID FETCH 1:4294967295 (UID FLAGS)");
        assert_eq!(shown(&mirror), rows(&[(1, "x"), (5, "")]));
        assert_eq!(mirror.reasons().is_empty(), abilities == PLAIN);
        assert_eq!(delta.commit().mod_seq(), None);
    }
    let played = Played::new(known(30), QRESYNC).say("TAG BAD what\n");
    assert_eq!(played.mirror.reasons(), [Reason::NotEnabled]);
    assert!(matches!(&played.step, Step::Ask(CommandBody::Select(s)) if s.qresync.is_none()));
}

#[test]
fn what_others_do_is_followed_and_numbers_with_it() {
    let mut mirror = level_at_30();
    let step = heard(&mut mirror, "* 2 EXPUNGE\n* 2 FETCH (FLAGS (k) MODSEQ (33))\n");
    let Step::Level(delta) = step else { panic!("{step:?}") };
    assert_eq!((delta.gone.len(), delta.changed.len()), (1, 1));
    assert_eq!(delta.commit().mod_seq(), ModSeq::new(30), "it moves at tagged answers only");
    assert_eq!(shown(&mirror), rows(&[(1, ""), (5, "k")]));
    let step = heard(&mut mirror, "* 3 EXISTS\n* OK [HIGHESTMODSEQ 31] x\n");
    // [C-12, C-13, C-14]: what was told counts, even below what was heard; else what was heard.
    let played = Played { mirror, step, ..Played::new(Mirror::new("x"), QRESYNC) };
    let played = played.say("* 3 FETCH (UID 8 FLAGS () MODSEQ (31))\nTAG OK\n");
    let (mirror, delta, _) = played.level();
    assert_eq!(delta.commit().mod_seq(), ModSeq::new(31));
    let said = "* 1 FETCH (FLAGS (z) MODSEQ (35))\nTAG OK done\n";
    let step = Step::Ask(CommandBody::Noop);
    let (_, delta, _) =
        Played { mirror, step, ..Played::new(Mirror::new("x"), QRESYNC) }.say(said).level();
    assert_eq!(delta.commit().mod_seq(), ModSeq::new(35));
}

#[test]
fn a_server_that_forgets_to_tell_an_expunge_is_found_out() {
    // Cyrus 6071: VANISHED lacked the highest UID.
    let played = Played::new(known(30), QRESYNC)
        .say("* ENABLED QRESYNC\nTAG OK\n")
        .say("* 2 EXISTS\n* OK [UIDVALIDITY 9] x\n* OK [HIGHESTMODSEQ 44] x\nTAG OK done\n")
        .say("* 1 FETCH (UID 1 FLAGS () MODSEQ (10))\n* 2 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (20))\nTAG OK\n");
    let (mirror, _, _) = played.level();
    assert_eq!(mirror.reasons(), [Reason::CountDiffers]);
    assert_eq!(shown(&mirror), rows(&[(1, ""), (2, "\\Seen")]));
    let mut lies =
        Played::new(known(30), PLAIN).say("* 4 EXISTS\n* OK [UIDVALIDITY 9] x\nTAG OK done\n");
    for _ in 0..8 {
        if let Step::Ask(_) = lies.step {
            lies = lies.say("* 1 FETCH (UID 1 FLAGS ())\nTAG OK done\n");
        }
    }
    assert!(matches!(lies.step, Step::Stuck(_)), "{:?}", lies.step);
}

#[test]
fn a_message_that_vanishes_before_it_was_named_is_counted() {
    // [C-27, C-28]
    let mut mirror = level_at_30();
    let mut conversation = Conversation::default();
    conversation.receive(b"* OK hello\r\n* 5 EXISTS\r\n* VANISHED 1,8:9\r\n").unwrap();
    let step = mirror.hear(&conversation.take_untagged());
    let Step::Level(delta) = step else { panic!("{step:?}") };
    assert_eq!(delta.gone, UidSet::one(Uid::new(1).unwrap()));
    assert_eq!(shown(&mirror), rows(&[(2, "\\Seen"), (5, "")]));
    conversation.receive(b"* 2 EXPUNGE\r\n").unwrap();
    let Step::Level(_) = mirror.hear(&conversation.take_untagged()) else { panic!() };
    assert_eq!(shown(&mirror), rows(&[(2, "\\Seen")]));
}

/// Level at three messages and HIGHESTMODSEQ 30, by QRESYNC.
fn level_at_30() -> Mirror {
    let (mirror, delta, _) = Played::new(known(30), QRESYNC)
        .say("* ENABLED QRESYNC\nTAG OK\n")
        .say("* 3 EXISTS\n* OK [UIDVALIDITY 9] x\n* OK [HIGHESTMODSEQ 30] x\nTAG OK done\n")
        .level();
    let _ = delta.commit();
    mirror
}

fn heard(mirror: &mut Mirror, lines: &str) -> Step {
    let mut conversation = Conversation::default();
    conversation.receive(b"* OK hello\r\n").unwrap();
    conversation.receive(lines.replace('\n', "\r\n").as_bytes()).unwrap();
    mirror.hear(&conversation.take_untagged())
}

#[test]
fn a_server_that_was_restored_is_asked_for_everything() {
    // [C-36]
    let select = "* 2 EXISTS\n* OK [UIDVALIDITY 9] x\n* OK [HIGHESTMODSEQ 12] x\nTAG OK done\n";
    let fetch = "* 1 FETCH (UID 1 FLAGS (back) MODSEQ (10))\n\
                 * 2 FETCH (UID 2 FLAGS () MODSEQ (12))\nTAG OK done\n";
    let by_condstore = Played::new(known(30), CONDSTORE).say(select).say(fetch);
    let by_qresync =
        Played::new(known(30), QRESYNC).say("* ENABLED QRESYNC\nTAG OK\n").say(select).say(fetch);
    for played in [by_condstore, by_qresync] {
        let (mirror, delta, sent) = played.level();
        assert_eq!(sent.last().unwrap(), "UID FETCH 1:4294967295 (UID FLAGS MODSEQ)");
        assert_eq!(mirror.reasons(), [Reason::ModSeqFell]);
        assert_eq!(shown(&mirror), rows(&[(1, "back"), (2, "")]));
        assert_eq!((delta.anew, delta.gone.len()), (false, 1));
        assert_eq!(delta.commit().mod_seq(), ModSeq::new(12));
    }
}

#[test]
fn what_comes_before_closed_is_about_the_mailbox_before() {
    // [C-29]
    let played = Played::new(known(30), QRESYNC).say("* ENABLED QRESYNC\nTAG OK\n").say(
        "* VANISHED 2\n* 1 FETCH (UID 1 FLAGS (other) MODSEQ (99))\n* 7 EXISTS\n* OK [CLOSED]\n\
         * 3 EXISTS\n* OK [UIDVALIDITY 9]\n* OK [HIGHESTMODSEQ 30]\nTAG OK done\n",
    );
    let (mirror, delta, _) = played.level();
    assert_eq!(shown(&mirror), rows(&[(1, ""), (2, "\\Seen"), (5, "")]));
    assert!(delta.changed.is_empty() && mirror.reasons().is_empty());
    assert_eq!(delta.commit().mod_seq(), ModSeq::new(30));
}

#[test]
fn earlier_moves_no_number() {
    // [C-26]
    let mut mirror = level_at_30();
    let step = heard(&mut mirror, "* VANISHED (EARLIER) 3:4,6:9\n* 3 FETCH (FLAGS (k))\n");
    let Step::Level(delta) = step else { panic!("{step:?}") };
    assert_eq!((delta.changed.len(), delta.gone.is_empty()), (1, true));
    assert_eq!(shown(&mirror), rows(&[(1, ""), (2, "\\Seen"), (5, "k")]));
    // Of a message that is there it is wrong: the count says so.
    let step = heard(&mut mirror, "* VANISHED (EARLIER) 1\n* 2 FETCH (FLAGS (k))\n");
    assert!(matches!(step, Step::Ask(CommandBody::Fetch(_))), "{step:?}");
    assert_eq!(shown(&mirror), rows(&[(2, "k"), (5, "k")]));
}

#[test]
fn an_empty_mailbox_that_has_no_mod_sequence_yet_is_still_one_that_has_them() {
    // [C-10, C-21]: Purelymail answers 0 there.
    let select = "* 0 EXISTS\n* OK [UIDVALIDITY 9]\n* OK [HIGHESTMODSEQ 0]\nTAG OK done\n";
    let played = Played::new(Mirror::new("INBOX"), CONDSTORE).say(select).say("TAG OK\n");
    let (mut mirror, delta, sent) = played.level();
    assert_eq!(sent, ["EXAMINE INBOX (CONDSTORE)", "UID FETCH 1:4294967295 (UID FLAGS MODSEQ)"]);
    assert_eq!((mirror.way(), delta.commit().mod_seq()), (Way::CondStore, None));
    let Step::Ask(body) = heard(&mut mirror, "* 1 EXISTS\n") else { panic!() };
    let step = Step::Ask(body);
    let played = Played { step, ..Played::new(Mirror::new("x"), CONDSTORE) };
    let played = Played { mirror, ..played };
    let (_, delta, sent) = played.say("* 1 FETCH (UID 1 FLAGS () MODSEQ (7))\nTAG OK\n").level();
    assert_eq!(sent, ["UID FETCH 1:4294967295 (UID FLAGS MODSEQ)"]);
    assert_eq!(delta.commit().mod_seq(), ModSeq::new(7));
}

#[test]
fn arrivals_behind_expunges_are_asked_for_alone() {
    let level = || {
        let select = "* 3 EXISTS\n* OK [UIDVALIDITY 9]\n* OK [HIGHESTMODSEQ 9]\nTAG OK done\n";
        let fetch = "* 1 FETCH (UID 1 FLAGS () MODSEQ (1))\n* 2 FETCH (UID 2 FLAGS () MODSEQ (1))\n\
                     * 3 FETCH (UID 5 FLAGS () MODSEQ (9))\nTAG OK done\n";
        Played::new(Mirror::new("INBOX"), CONDSTORE).say(select).say(fetch).level().0
    };
    let asked_above_5 = |step: Step| {
        let Step::Ask(CommandBody::Fetch(fetch)) = step else { panic!("{step:?}") };
        assert_eq!(fetch.set, sequence(&above(5)).unwrap());
    };
    let mut mirror = level();
    asked_above_5(heard(&mut mirror, "* 2 EXPUNGE\n* 1 EXPUNGE\n* 2 EXISTS\n"));
    let mut mirror = level();
    assert!(matches!(heard(&mut mirror, "* 1 EXPUNGE\n"), Step::Level(_)));
    asked_above_5(heard(&mut mirror, "* 3 EXISTS\n"));
}

#[test]
fn what_was_told_and_not_committed_is_told_again() {
    // [C-11]
    let mut mirror = level_at_30();
    let Step::Level(lost) = heard(&mut mirror, "* VANISHED 1\n* 2 FETCH (FLAGS (k))\n") else {
        panic!()
    };
    drop(lost);
    let Step::Level(delta) = heard(&mut mirror, "* 1 FETCH (FLAGS (l))\n") else { panic!() };
    assert_eq!(delta.gone, UidSet::one(Uid::new(1).unwrap()));
    assert_eq!(delta.changed.keys().map(|uid| uid.value()).collect::<Vec<_>>(), [2, 5]);
    let _ = delta.commit();
    let Step::Level(delta) = heard(&mut mirror, "* 1 FETCH (FLAGS (m))\n") else { panic!() };
    assert_eq!((delta.changed.len(), delta.gone.is_empty()), (1, true));
    assert!(mirror.link.named.is_empty(), "nothing is gathered that nobody asks for");
}

#[test]
fn numbers_that_stood_for_others_are_learnt_anew() {
    // The expunge of UID 1 was never told: every number is one off.
    let mut mirror = level_at_30();
    let step = heard(&mut mirror, "* 2 EXISTS\n* 2 FETCH (FLAGS (k) MODSEQ (33))\n");
    let played = Played { mirror, step, ..Played::new(Mirror::new("x"), QRESYNC) };
    let played = played.say(
        "* 1 FETCH (UID 2 FLAGS () MODSEQ (31))\n* 2 FETCH (UID 5 FLAGS (k) MODSEQ (33))\nTAG OK\n",
    );
    let (mut mirror, delta, sent) = played.level();
    assert_eq!(sent, ["UID FETCH 1:4294967295 (UID FLAGS MODSEQ)"]);
    assert_eq!(shown(&mirror), rows(&[(2, ""), (5, "k")]));
    assert_eq!(delta.gone, UidSet::one(Uid::new(1).unwrap()));
    assert!(matches!(heard(&mut mirror, "* 2 FETCH (FLAGS (l))\n"), Step::Level(_)));
    assert_eq!(shown(&mirror), rows(&[(2, ""), (5, "l")]));
}

#[test]
fn as_many_as_exists_may_be_others() {
    // [C-11]: one is gone that nobody told of, and one arrives behind the FETCH: the count says nothing.
    let (mirror, delta, sent) = Played::new(known(30), CONDSTORE)
        .say("* 2 EXISTS\n* OK [UIDVALIDITY 9] x\n* OK [HIGHESTMODSEQ 44] x\nTAG OK done\n")
        .say("* 1 FETCH (UID 1 FLAGS (k) MODSEQ (44))\n* 3 EXISTS\nTAG OK done\n")
        .say("* SEARCH 1 5 7\nTAG OK done\n")
        .say("* 3 FETCH (UID 7 FLAGS () MODSEQ (45))\nTAG OK done\n")
        .level();
    assert_eq!(sent[2..], ["UID SEARCH ALL", "UID FETCH 6:4294967295 (UID FLAGS MODSEQ)"]);
    assert_eq!(shown(&mirror), rows(&[(1, "k"), (5, ""), (7, "")]));
    assert_eq!(delta.gone, UidSet::one(Uid::new(2).unwrap()));
    assert!(mirror.reasons().is_empty());
    // Likewise behind the SEARCH, where EXPUNGE names a number that is not known yet.
    let played = Played::new(known(30), CONDSTORE)
        .say("* 2 EXISTS\n* OK [UIDVALIDITY 9] x\n* OK [HIGHESTMODSEQ 44] x\nTAG OK done\n")
        .say("* 1 FETCH (UID 1 FLAGS (k) MODSEQ (44))\nTAG OK done\n")
        .say("* SEARCH 1 5\n* 2 EXPUNGE\n* 2 EXISTS\nTAG OK done\n")
        .say("* 2 FETCH (UID 7 FLAGS () MODSEQ (45))\nTAG OK done\n")
        .say("* 1 FETCH (UID 1 FLAGS (k) MODSEQ (44))\n* 2 FETCH (UID 7 FLAGS () MODSEQ (45))\nTAG OK\n");
    let (mirror, delta, _) = played.level();
    assert_eq!(shown(&mirror), rows(&[(1, "k"), (7, "")]));
    assert_eq!(delta.gone, UidSet::from_ranges([(2, 2), (5, 5)]));
}

#[test]
fn without_closed_the_mailbox_begins_with_what_select_tells() {
    // [C-29]: what waited from before, of another mailbox, comes with the first answers.
    let other = "* 1 FETCH (UID 5 FLAGS (other) MODSEQ (99))\n* VANISHED 2\n* 1 EXPUNGE\n";
    let select = "* FLAGS (x)\n* 3 EXISTS\n* OK [UIDVALIDITY 9] x\n* OK [HIGHESTMODSEQ 30] x\n";
    let by_condstore =
        Played::new(known(30), CONDSTORE).say(&format!("{other}{select}TAG OK done\n"));
    let by_qresync = Played::new(known(30), QRESYNC)
        .say(&format!("{other}* ENABLED QRESYNC\nTAG OK\n"))
        .say(&format!("{select}TAG OK done\n"));
    for played in [by_condstore, by_qresync] {
        let (mirror, delta, _) = played.level();
        assert_eq!(shown(&mirror), rows(&[(1, ""), (2, "\\Seen"), (5, "")]));
        assert!(delta.changed.is_empty() && delta.gone.is_empty() && mirror.reasons().is_empty());
        assert_eq!(delta.commit().mod_seq(), ModSeq::new(30));
    }
    // A resync might have begun there: whose it is nobody can say.
    let played = Played::new(known(30), QRESYNC)
        .say("* ENABLED QRESYNC\nTAG OK\n")
        .say(&format!("* 1 FETCH (UID 5 FLAGS (k) MODSEQ (30))\n{select}TAG OK done\n"));
    assert_eq!(played.mirror.reasons(), [Reason::NumberUnknown]);
}

#[test]
fn the_refusal_of_another_command_is_not_the_mirrors() {
    let mut mirror = level_at_30();
    let mut conversation = Conversation::default();
    conversation.receive(b"* OK hello\r\n").unwrap();
    let ticket = conversation.submit(CommandBody::Noop).unwrap();
    conversation.receive(b"* 1 FETCH (FLAGS (k))\r\nh1 NO not now\r\n").unwrap();
    let step = mirror.take(&conversation.take_answer(ticket).unwrap());
    assert!(matches!(&step, Step::Level(delta) if delta.changed.len() == 1), "{step:?}");
}

#[test]
fn what_is_said_of_a_message_that_was_just_announced_comes_with_it() {
    let mut mirror = level_at_30();
    let step = heard(&mut mirror, "* 4 EXISTS\n* 4 FETCH (FLAGS (new) MODSEQ (31))\n");
    let Step::Ask(CommandBody::Fetch(fetch)) = &step else { panic!("{step:?}") };
    assert_eq!(fetch.set, sequence(&above(5)).unwrap());
    assert!(mirror.reasons().is_empty());
}

#[test]
fn numbers_that_no_mailbox_has_take_no_memory() {
    let mut mirror = level_at_30();
    let step = heard(&mut mirror, "* 4294967295 EXISTS\n* 4294967295 FETCH (UID 9 FLAGS ())\n");
    assert!(matches!(step, Step::Stuck(_)), "{step:?}");
    let played = Played::new(known(30), CONDSTORE)
        .say("* 2 EXISTS\n* OK [UIDVALIDITY 9] x\n* OK [HIGHESTMODSEQ 44] x\nTAG OK done\n")
        .say("TAG OK done\n")
        .say("* ESEARCH UID ALL 1,3:4294967295\nTAG OK done\n");
    let (mirror, _, _) = played.level();
    assert_eq!(shown(&mirror), rows(&[(1, ""), (5, "")]));
}

#[test]
fn many_vanish_at_once() {
    let messages = (1..=200_000).map(|uid| (Uid::new(uid).unwrap(), state("", 9)));
    let checkpoint = Checkpoint::stored(UidValidity::new(9).unwrap(), ModSeq::new(9));
    let select = "* 200000 EXISTS\n* OK [UIDVALIDITY 9]\n* OK [HIGHESTMODSEQ 9]\nTAG OK done\n";
    let mirror = Mirror::resume("INBOX", checkpoint, messages);
    let mut mirror = Played::new(mirror, CONDSTORE).say(select).level().0;
    let Step::Level(delta) = heard(&mut mirror, "* VANISHED 1:199990\n* 3 FETCH (FLAGS (k))\n")
    else {
        panic!()
    };
    assert_eq!((delta.gone.len(), shown(&mirror).len()), (199_990, 10));
    assert_eq!(shown(&mirror)[2], (199_993, "k".into()));
}
