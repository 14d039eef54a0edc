//! The command × right matrix of RFC 4314 §4, walked over octets, pushes included.
//!
//! Every operation is tried with every right alone, with all rights but one, with exactly those that it needs,
//! with all and with none, each time by a user who is not the owner of the mailbox.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "tests fail loudly, and use a part of the runner"
)]

#[path = "runner/play.rs"]
mod runner;

use imap::acl::Rights;
use runner::Place;
use runner::here::Server;
use session::{Next, Session};
use std::future::Future as _;

const TEAM: &str = "\"Other Users/alex/Team\"";
const NOWHERE: &str = "\"Other Users/alex/Nowhere\"";

/// Alex with a mailbox `Team` and one below it, Bob who is given rights to it.
struct Stage {
    server: Server,
    alex: Session,
    bob: Session,
}

impl Stage {
    fn new(rights: Rights) -> Self {
        let mut server = Server::new(Vec::new());
        server.administer(&["user", "bob"]);
        let (alex, bob) = (server.session(), server.session());
        let mut stage = Self { server, alex, bob };
        stage.alex(
            "a LOGIN alex secret\r\nb CREATE Team\r\nc CREATE Team/Below\r\n\
             d APPEND Team {14+}\r\nSubject: x\r\n\r\n\r\n\r\n\
             e APPEND Team (\\Deleted) {14+}\r\nSubject: y\r\n\r\n\r\n\r\n\
             f SELECT Team\r\n",
        );
        stage.give(rights);
        stage.bob(
            "a LOGIN bob secret\r\nb APPEND INBOX (\\Seen \\Deleted $k) {14+}\r\nSubject: z\r\n\r\n\r\n\r\n",
        );
        stage
    }

    /// Gives Bob exactly these rights to `Team`, and to the one below it those that RENAME wants of it.
    fn give(&mut self, rights: Rights) {
        let below = rights.union(Rights::LOOKUP);
        self.alex(&format!(
            "g SETACL Team bob \"{rights}\"\r\nh SETACL Team/Below bob \"{below}\"\r\n"
        ));
    }

    fn say(server: &Server, session: &mut Session, text: &str) -> (String, Next) {
        let mut out = Vec::new();
        let next = server.drive(session.receive(text.as_bytes(), &mut out)).unwrap();
        (String::from_utf8_lossy(&out).into_owned(), next)
    }

    fn alex(&mut self, text: &str) -> String {
        Self::say(&self.server, &mut self.alex, text).0
    }

    fn bob(&mut self, text: &str) -> String {
        Self::say(&self.server, &mut self.bob, text).0
    }
}

/// An operation: what Bob says before, what he says, and which rights it takes.
struct Operation {
    selects: bool,
    says: &'static str,
    needs: &'static str,
}

/// In the order of the table in RFC 4314 §4; `$` stands for the mailbox.
const OPERATIONS: [Operation; 25] = [
    Operation { selects: false, says: "x CREATE \"Other Users/alex/Team/New\"", needs: "k" },
    Operation { selects: false, says: "x DELETE $", needs: "x" },
    Operation {
        selects: false,
        says: "x RENAME \"Other Users/alex/Team/Below\" \"Other Users/alex/Team/Up\"",
        needs: "kx",
    },
    Operation { selects: false, says: "x SELECT $", needs: "r" },
    Operation { selects: false, says: "x EXAMINE $", needs: "r" },
    Operation { selects: false, says: "x STATUS $ (MESSAGES HIGHESTMODSEQ)", needs: "r" },
    Operation { selects: false, says: "x SETACL $ anyone l", needs: "a" },
    Operation { selects: false, says: "x DELETEACL $ anyone", needs: "a" },
    Operation { selects: false, says: "x GETACL $", needs: "a" },
    Operation { selects: false, says: "x LISTRIGHTS $ anyone", needs: "a" },
    Operation { selects: false, says: "x GETQUOTAROOT $", needs: "l" },
    Operation { selects: false, says: "x APPEND $ {14+}\r\nSubject: x\r\n\r\n\r\n", needs: "i" },
    Operation { selects: true, says: "x COPY 1 $", needs: "ri" },
    Operation { selects: true, says: "x COPY 1 INBOX", needs: "r" },
    Operation { selects: true, says: "x UID MOVE 1 INBOX", needs: "rte" },
    Operation { selects: true, says: "x UID MOVE 1 $", needs: "rite" },
    Operation { selects: true, says: "x EXPUNGE", needs: "re" },
    Operation { selects: true, says: "x UID EXPUNGE 1:*", needs: "re" },
    Operation { selects: true, says: "x STORE 1 +FLAGS (\\Seen)", needs: "rs" },
    Operation { selects: true, says: "x STORE 1 +FLAGS (\\Deleted)", needs: "rt" },
    Operation { selects: true, says: "x STORE 1 +FLAGS (\\Flagged)", needs: "rw" },
    Operation { selects: true, says: "x UID STORE 1 (UNCHANGEDSINCE 99) +FLAGS (k)", needs: "rw" },
    Operation { selects: true, says: "x FETCH 1 (FLAGS BODY[])", needs: "r" },
    Operation { selects: true, says: "x SEARCH ALL", needs: "r" },
    Operation { selects: true, says: "x CLOSE", needs: "r" },
];

fn rights(letters: &str) -> Rights {
    Rights::parse(letters).unwrap()
}

/// Every right alone, all but each, the ones needed, all and none.
fn given(needs: Rights) -> Vec<Rights> {
    let alone = Rights::ALL.iter();
    let all_but = Rights::ALL.iter().map(|right| Rights::ALL.without(right));
    alone.chain(all_but).chain([needs, Rights::ALL, Rights::NONE]).collect()
}

/// The tagged line for `x`, its tag and text apart.
fn answer(said: &str) -> &str {
    said.lines().rfind(|line| line.starts_with("x ")).unwrap_or(said)
}

#[test]
fn each_command_takes_the_rights_of_the_table() {
    for operation in &OPERATIONS {
        let needs = rights(operation.needs);
        for held in given(needs) {
            let mut stage = Stage::new(held);
            let mut said = String::new();
            if operation.selects {
                said = stage.bob(&format!("s SELECT {TEAM}\r\n"));
            }
            if !operation.selects || said.contains("s OK") {
                said = stage.bob(&format!("{}\r\n", operation.says.replace('$', TEAM)));
            }
            let done = answer(&said).starts_with("x OK");
            let may = held.contains(needs);
            assert_eq!(done, may, "{} with {held}: {said}", operation.says);
            // RENAME is about the mailbox below, which can be listed.
            if !may && !held.contains(Rights::LOOKUP) && !operation.selects {
                let there = operation.says.replace('$', NOWHERE);
                let absent = stage.bob(&format!("{there}\r\n"));
                let same = answer(&said) == answer(&absent) || operation.says.contains("Team/");
                assert!(
                    same,
                    "{} with {held} tells that it is there: {said}{absent}",
                    operation.says
                );
            }
        }
    }
}

#[test]
fn commands_that_depend_on_a_right_by_halves() {
    for held in given(Rights::LOOKUP) {
        let mut stage = Stage::new(held);
        // Without `l` the name stands there only for the sake of the one below it.
        let listed = stage.bob("x LIST \"\" *\r\n");
        let mut lines = listed.lines().filter(|line| line.ends_with("Other Users/alex/Team\""));
        let listed = lines.any(|line| !line.contains("\\Noselect"));
        assert_eq!(listed, held.contains(Rights::LOOKUP), "LIST with {held}");
        let rights_told = stage.bob(&format!("x MYRIGHTS {TEAM}\r\n")).contains("x OK");
        let enough = rights("lrikxa");
        assert_eq!(rights_told, !held.intersection(enough).is_empty(), "MYRIGHTS with {held}");
        for always in ["SUBSCRIBE", "UNSUBSCRIBE"] {
            assert!(stage.bob(&format!("x {always} {TEAM}\r\n")).contains("x OK"), "{always}");
        }
        if held.contains(Rights::INSERT) {
            let tagged = stage.bob(&format!(
                "y APPEND {TEAM} (\\Seen \\Deleted \\Flagged $k) {{14+}}\r\nSubject: x\r\n\r\n\r\n\r\n\
                 s SELECT INBOX\r\nx COPY 1 {TEAM}\r\n"
            ));
            assert!(tagged.contains("y OK") && tagged.contains("x OK"), "{tagged}");
            // RFC 4315 §3: who may not read is not told which UIDs there are.
            let told = [tagged.contains("y OK [APPENDUID"), tagged.contains("x OK [COPYUID")];
            assert_eq!(told, [held.contains(Rights::READ); 2], "{held}: {tagged}");
            let kept = stage.alex("n NOOP\r\nx FETCH 3:4 (FLAGS)\r\n");
            for (flag, right) in [
                ("\\Seen", Rights::SEEN),
                ("\\Deleted", Rights::DELETE_MESSAGES),
                ("$k", Rights::WRITE),
            ] {
                let count = kept.matches(flag).count();
                let expected = if held.contains(right) { 2 } else { 0 };
                let lists = kept.lines().filter(|l| !l.contains(" FETCH ")).collect::<String>();
                let listed = lists.matches(flag).count();
                assert_eq!(count - listed, expected, "{flag} with {held}: {kept}");
            }
        }
        if held.contains(Rights::READ) {
            let seen = stage.bob(&format!("s SELECT {TEAM}\r\nx FETCH 1 (BODY[])\r\n"));
            let told = seen.contains("* 1 FETCH (FLAGS (\\Seen");
            assert_eq!(told, held.contains(Rights::SEEN), "FETCH with {held}: {seen}");
            let write = seen.contains("s OK [READ-WRITE]");
            assert_eq!(write, !held.intersection(rights("iestw")).is_empty(), "SELECT with {held}");
            stage.bob("x CLOSE\r\n");
            let left = stage.alex("x STATUS Team (DELETED)\r\n").contains("(DELETED 0)");
            assert_eq!(left, held.contains(Rights::EXPUNGE), "CLOSE with {held}");
        }
    }
}

#[test]
fn a_fetch_is_done_though_the_right_to_mark_is_lost_in_the_same_batch() {
    let mut stage = Stage::new(rights("lrs"));
    stage.bob(&format!("s SELECT {TEAM}\r\n"));
    let (mut out, mut alex) = (Vec::new(), stage.server.session());
    Stage::say(&stage.server, &mut alex, "a LOGIN alex secret\r\n");
    let mut taking = Box::pin(alex.receive(b"b SETACL Team bob lr\r\n", &mut out));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(taking.as_mut().poll(&mut context).is_pending(), "queued and not yet done");
    let said = stage.bob("x FETCH 1 (BODY[])\r\n");
    assert!(said.contains("Subject: x") && said.contains("x OK"), "{said}");
    stage.server.drive(taking).unwrap();
    assert!(stage.alex("x STATUS Team (UNSEEN)\r\n").contains("(UNSEEN 2)"));
}

/// What a client may say with a mailbox selected; `$` stands for the mailbox.
const WHILE_SELECTED: [&str; 20] = [
    "x NOOP",
    "x CHECK",
    "x FETCH 1:* (FLAGS)",
    "x UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)",
    "x FETCH 1 (BODY[])",
    "x SEARCH KEYWORD leak",
    "x UID SEARCH RETURN (ALL) ALL",
    "x STORE 1 +FLAGS (\\Flagged)",
    "x UID STORE 1 (UNCHANGEDSINCE 2) -FLAGS.SILENT (leak)",
    "x COPY 1 INBOX",
    "x UID MOVE 1 INBOX",
    "x EXPUNGE",
    "x APPEND $ {14+}\r\nSubject: x\r\n\r\n\r\n",
    "x STATUS $ (MESSAGES)",
    "x STATUS INBOX (MESSAGES)",
    "x LIST \"\" * RETURN (STATUS (MESSAGES))",
    "x SELECT $",
    "x CLOSE",
    "x UNSELECT",
    "x IDLE",
];

#[test]
fn nothing_is_sent_after_the_right_to_read_is_lost() {
    for command in WHILE_SELECTED {
        for lost in [Rights::ALL.without(Rights::READ), Rights::NONE] {
            let mut stage = Stage::new(Rights::ALL);
            stage.bob(&format!("s ENABLE QRESYNC\r\nt SELECT {TEAM}\r\n"));
            stage.give(lost);
            stage.alex(
                "x STORE 1 +FLAGS (leak)\r\ny APPEND Team {14+}\r\nSubject: x\r\n\r\n\r\n\r\n",
            );
            let (said, next) = Stage::say(
                &stage.server,
                &mut stage.bob,
                &format!("{}\r\n", command.replace('$', TEAM)),
            );
            let told = ["leak", "3 EXISTS", "VANISHED", "(MESSAGES 3)", "1 FETCH"];
            let inbox = command.contains("INBOX") || command.contains("LIST");
            for sign in told.into_iter().filter(|sign| !(inbox && sign.contains("MESSAGES"))) {
                assert!(!said.contains(sign), "{command} with {lost}: {said}");
            }
            let leaves = command.contains("CLOSE") || command.contains("SELECT");
            assert_eq!(next == Next::Close, !leaves, "{command} with {lost}: {said}");
            assert_eq!(said.contains("* BYE [NOPERM]"), !leaves, "{command} with {lost}: {said}");
        }
    }
}

#[test]
fn a_push_ends_with_the_right_to_read() {
    let mut stage = Stage::new(Rights::ALL);
    stage.bob(&format!("s SELECT {TEAM}\r\nx IDLE\r\n"));
    let push = |stage: &mut Stage| {
        let mut out = Vec::new();
        let next = stage.server.drive(stage.bob.push(&mut out)).unwrap();
        (String::from_utf8(out).unwrap(), next)
    };
    stage.alex("x STORE 1 +FLAGS (open)\r\n");
    let (said, next) = push(&mut stage);
    assert!(said.contains("* 1 FETCH (FLAGS (open") && next == Next::Read, "{said}");
    stage.alex("x STORE 1 +FLAGS (early)\r\n");
    stage.give(Rights::LOOKUP);
    stage.alex("x STORE 1 +FLAGS (late)\r\n");
    let (said, next) = push(&mut stage);
    assert!(!said.contains("early") && !said.contains("late"), "{said}");
    assert!(said.starts_with("* BYE [NOPERM]") && next == Next::Close, "{said}");
}
