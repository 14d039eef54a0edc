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
    // C-11, C-14
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
    let said = "* 3 EXISTS\n* OK [UIDVALIDITY 9] x\n* OK [HIGHESTMODSEQ 30] x\nTAG OK done\n";
    let (_, delta, sent) = Played::new(known(30), CONDSTORE).say(said).level();
    assert_eq!((sent.len(), delta.changed.len(), delta.gone.is_empty()), (1, 0, true));
}

#[test]
fn another_uidvalidity_voids_everything() {
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
    // Purelymail answers HIGHESTMODSEQ 0; others say NOMODSEQ; a third ENABLEs nothing.
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
    let (mut mirror, delta, _) = Played::new(known(30), QRESYNC)
        .say("* ENABLED QRESYNC\nTAG OK\n")
        .say("* 3 EXISTS\n* OK [UIDVALIDITY 9] x\n* OK [HIGHESTMODSEQ 30] x\nTAG OK done\n")
        .level();
    let _ = delta.commit();
    let heard = |mirror: &mut Mirror, lines: &str| {
        let mut conversation = Conversation::default();
        conversation.receive(b"* OK hello\r\n").unwrap();
        conversation.receive(lines.replace('\n', "\r\n").as_bytes()).unwrap();
        mirror.hear(&conversation.take_untagged())
    };
    let step = heard(&mut mirror, "* 2 EXPUNGE\n* 2 FETCH (FLAGS (k) MODSEQ (33))\n");
    let Step::Level(delta) = step else { panic!("{step:?}") };
    assert_eq!((delta.gone.len(), delta.changed.len()), (1, 1));
    assert_eq!(delta.commit().mod_seq(), ModSeq::new(30), "it moves at tagged answers only");
    assert_eq!(shown(&mirror), rows(&[(1, ""), (5, "k")]));
    let step = heard(&mut mirror, "* 3 EXISTS\n* OK [HIGHESTMODSEQ 31] x\n");
    let Step::Ask(body) = step else { panic!("{step:?}") };
    let played = Played { step: Step::Ask(body), ..Played::new(mirror, QRESYNC) };
    assert!(matches!(&played.step, Step::Ask(CommandBody::Fetch(_))));
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
    let (mut mirror, delta, _) = Played::new(known(30), QRESYNC)
        .say("* ENABLED QRESYNC\nTAG OK\n")
        .say("* 3 EXISTS\n* OK [UIDVALIDITY 9] x\n* OK [HIGHESTMODSEQ 30] x\nTAG OK done\n")
        .level();
    let _ = delta.commit();
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
