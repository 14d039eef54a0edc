//! Every way to get the parameters of a resync wrong, and what must be so afterwards [S-114, S-115, S-116, S-127].
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

use imap::frame::Limits;
use runner::here::Server;
use session::{Config, Session};

/// Not the UIDVALIDITY of any mailbox here is typed: `V` stands for that of INBOX, `H` for its HIGHESTMODSEQ.
const REFUSED: &[&str] = &[
    // Too little, in parentheses and not.
    "()",
    "(QRESYNC)",
    "(QRESYNC )",
    "(QRESYNC ())",
    "(QRESYNC (V))",
    "(QRESYNC (V ))",
    "(QRESYNC V H)",
    "(QRESYNC (V H)",
    "(QRESYNC (V H",
    "(QRESYNC V H))",
    "QRESYNC (V H)",
    "(QRESYNC(V H))",
    "(V H)",
    // UIDVALIDITY: `nz-number`.
    "(QRESYNC (0 H))",
    "(QRESYNC (00 H))",
    "(QRESYNC (0V H))",
    "(QRESYNC (-1 H))",
    "(QRESYNC (+V H))",
    "(QRESYNC (4294967296 H))",
    "(QRESYNC (99999999999999999999999999999999 H))",
    "(QRESYNC (V.0 H))",
    "(QRESYNC (0x1 H))",
    "(QRESYNC (* H))",
    "(QRESYNC (NIL H))",
    "(QRESYNC (\"1\" H))",
    // The mod-sequence: up to 2^63−1.
    "(QRESYNC (V 9223372036854775808))",
    "(QRESYNC (V 18446744073709551615))",
    "(QRESYNC (V 18446744073709551617))",
    "(QRESYNC (V 99999999999999999999999999999999))",
    "(QRESYNC (V -1))",
    "(QRESYNC (V *))",
    "(QRESYNC (V 1.5))",
    "(QRESYNC (V H,H))",
    "(QRESYNC (V (H)))",
    // Known UIDs: numbers from 1, without `*` and `$`.
    "(QRESYNC (V H *))",
    "(QRESYNC (V H 1:*))",
    "(QRESYNC (V H *:1))",
    "(QRESYNC (V H 1,*))",
    "(QRESYNC (V H $))",
    "(QRESYNC (V H 0))",
    "(QRESYNC (V H 0:5))",
    "(QRESYNC (V H 01))",
    "(QRESYNC (V H 1:))",
    "(QRESYNC (V H :1))",
    "(QRESYNC (V H 1:2:3))",
    "(QRESYNC (V H ,1))",
    "(QRESYNC (V H 1,))",
    "(QRESYNC (V H 1,,2))",
    "(QRESYNC (V H 4294967296))",
    "(QRESYNC (V H 1:4294967296))",
    "(QRESYNC (V H \"\"))",
    "(QRESYNC (V H 1:5 1:5))",
    "(QRESYNC (V H 1:5 1:5 1:5))",
    // Match data: two sets in parentheses, without `*`, rising, as many of one as of the other.
    "(QRESYNC (V H ()))",
    "(QRESYNC (V H (1)))",
    "(QRESYNC (V H (1 )))",
    "(QRESYNC (V H ( 1)))",
    "(QRESYNC (V H (1 1 1)))",
    "(QRESYNC (V H (1:* 1:5)))",
    "(QRESYNC (V H (1:5 1:*)))",
    "(QRESYNC (V H (* *)))",
    "(QRESYNC (V H ($ $)))",
    "(QRESYNC (V H (0 1)))",
    "(QRESYNC (V H (1 0)))",
    "(QRESYNC (V H (01 1)))",
    "(QRESYNC (V H (1,2 1)))",
    "(QRESYNC (V H (1 1,2)))",
    "(QRESYNC (V H (1:3 1:4)))",
    "(QRESYNC (V H (1:4294967295 1:4294967294)))",
    "(QRESYNC (V H (2,1 1,2)))",
    "(QRESYNC (V H (1,2 2,1)))",
    "(QRESYNC (V H (1,1 1,2)))",
    "(QRESYNC (V H (1:3,3:4 1:5)))",
    "(QRESYNC (V H (3:1 1:3)))",
    "(QRESYNC (V H (1:3 3:1)))",
    "(QRESYNC (V H 1:5 (1 1) (1 1)))",
    "(QRESYNC (V H (1 1) 1:5))",
    "(QRESYNC (V H 1:5 1 1))",
    "(QRESYNC (V H 1:5 (1 1))",
    // More than that, and twice the same.
    "(QRESYNC (V H) extra)",
    "(QRESYNC (V H)) extra",
    "(QRESYNC (V H)))",
    "((QRESYNC (V H)))",
    "(QRESYNC  (V H))",
    "(QRESYNC (V  H))",
    "(QRESYNC ( V H))",
    "(QRESYNC (V H ))",
    "( QRESYNC (V H))",
    "(QRESYNC (V H) )",
    "(QRESYNC (V H) QRESYNC (V H))",
    "(QRESYNC (V H) qresync (V H))",
    "(CONDSTORE CONDSTORE)",
    "(CONDSTORE QRESYNC (V H) CONDSTORE)",
    "(CONDSTORE (V H))",
    "(QRESYNC (V H) CONDSTORE",
    "(VANISHED)",
    "(CHANGEDSINCE H)",
    // Literals stand for strings, and there are none here.
    "(QRESYNC ({1+}\r\n1 H))",
    "(QRESYNC (V {1+}\r\n1))",
    "(QRESYNC (V H {1+}\r\n1))",
    "(QRESYNC (V H ({1+}\r\n1 1)))",
    "(QRESYNC {7+}\r\n(V H 1))",
    "({7+}\r\nQRESYNC (V H))",
    "(QRESYNC ({1}\r\n1 H))",
    "(QRESYNC (V H {1}\r\n1))",
    "(QRESYNC (V H {0}\r\n))",
    "(QRESYNC (V H {0+}\r\n))",
    "(QRESYNC (V H ~{1+}\r\n1))",
    "(QRESYNC (V H {70000+}\r\nLONG))",
    "(QRESYNC (V H {99999999999999999999}",
];

/// What looks odd and is right.
const TAKEN: &[&str] = &[
    "",
    "(CONDSTORE)",
    "(condstore qresync (V H))",
    "(QRESYNC (V H) CONDSTORE)",
    "(QRESYNC (V 0))",
    "(QRESYNC (V 00000000000000000000000001))",
    "(QRESYNC (V 9223372036854775807))",
    "(QRESYNC (4294967295 1))",
    "(QRESYNC (V H 5:1,3,3,2:4))",
    "(QRESYNC (V H 4294967295))",
    "(QRESYNC (V 1 1:4294967295))",
    "(QRESYNC (V H (1 1)))",
    "(QRESYNC (V H 1:5 (1:2,4 1,3:4)))",
    "(QRESYNC (V 1 (1:4294967295 1:4294967295)))",
    "(QRESYNC (V 1 1:4294967295 (4294967295 4294967295)))",
];

/// A client with QRESYNC enabled, and what `V` and `H` stand for.
struct Client<'a> {
    server: &'a Server,
    session: Session,
    v: String,
    h: String,
}

impl<'a> Client<'a> {
    /// INBOX holds UIDs 1, 2, 4 and 5; 3 was expunged after `H`.
    fn new(server: &'a Server, enable: &str) -> Self {
        let (v, h) = (String::new(), String::new());
        let mut client = Self { server, session: server.session(), v, h };
        let messages = " {8+}\r\nA: b\r\n\r\n".repeat(5);
        let begun = client.say(&format!(
            "a LOGIN alex secret\r\n{enable}b APPEND INBOX{messages}\r\nc SELECT INBOX"
        ));
        let code = |name: &str| {
            let behind = begun.split_once(name).expect("SELECT says it").1;
            behind.split(']').next().unwrap().to_owned()
        };
        (client.v, client.h) = (code("[UIDVALIDITY "), code("[HIGHESTMODSEQ "));
        let expunged = client.say("d STORE 3 +FLAGS.SILENT (\\Deleted)\r\ne EXPUNGE\r\nf UNSELECT");
        assert!(expunged.contains("e OK") && expunged.contains("f OK"), "{expunged}");
        client
    }

    /// What the server answers to the line, `V` and `H` put in.
    fn say(&mut self, line: &str) -> String {
        let mut out = Vec::new();
        let octets = format!("{line}\r\n");
        self.server.drive(self.session.receive(octets.as_bytes(), &mut out)).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn put_in(&self, form: &str) -> String {
        let long = "1".repeat(70_000);
        form.replace("LONG", &long)
            .split_inclusive(|c: char| !c.is_ascii_alphanumeric())
            .map(|word| match word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()) {
                "V" => word.replace('V', &self.v),
                "0V" => word.replace('V', &self.v),
                "H" => word.replace('H', &self.h),
                _ => word.to_owned(),
            })
            .collect()
    }

    fn is_selected(&mut self) -> bool {
        self.say("i FETCH 1 (UID)").contains("i OK")
    }
}

const QRESYNC: &str = "e ENABLE QRESYNC\r\n";

/// Every command, with a mailbox selected before and without.
fn each_way(mut visit: impl FnMut(&str, bool)) {
    for command in ["SELECT", "EXAMINE"] {
        visit(command, false);
        visit(command, true);
    }
}

#[test]
fn what_is_malformed_is_bad_and_selects_nothing() {
    let server = Server::new(Vec::new());
    let mut client = Client::new(&server, QRESYNC);
    each_way(|command, before| {
        for form in REFUSED {
            let case = format!("{command} INBOX {form}, selected before: {before}");
            if before {
                assert!(client.say("s SELECT INBOX").contains("s OK"), "{case}");
            }
            let line = format!("t {command} INBOX {}", client.put_in(form));
            let answer = client.say(&line);
            let lines: Vec<_> = answer.lines().filter(|line| !line.starts_with("+ ")).collect();
            let closed = usize::from(before);
            assert_eq!(lines.len(), 1 + closed, "{case}: {answer}");
            assert_eq!(answer.matches("* OK [CLOSED]").count(), closed, "{case}: {answer}");
            assert!(lines[closed].starts_with("t BAD "), "{case}: {answer}");
            assert!(!client.is_selected(), "{case}");
        }
    });
}

#[test]
fn what_is_odd_and_right_is_taken() {
    let server = Server::new(Vec::new());
    let mut client = Client::new(&server, QRESYNC);
    each_way(|command, before| {
        for form in TAKEN {
            let case = format!("{command} INBOX {form}, selected before: {before}");
            client.say(if before { "s SELECT INBOX" } else { "s UNSELECT" });
            let line = format!("t {command} INBOX {}", client.put_in(form));
            let answer = client.say(line.trim_end());
            assert_eq!(answer.contains("* OK [CLOSED]"), before, "{case}: {answer}");
            let mode = if command == "SELECT" { "READ-WRITE" } else { "READ-ONLY" };
            assert!(answer.contains(&format!("t OK [{mode}]")), "{case}: {answer}");
            assert!(!answer.contains("VANISHED 3"), "{case}: {answer}");
            assert!(client.is_selected(), "{case}");
        }
    });
    // The name may be a literal, and the parameters follow it [S-41].
    let line = client.put_in("t SELECT {5+}\r\nINBOX (QRESYNC (V H))");
    let answer = client.say(&line);
    assert!(answer.contains("* VANISHED (EARLIER) 3\r\n") && answer.contains("t OK"), "{answer}");
}

#[test]
fn without_enable_every_form_is_bad() {
    // [S-112]
    for enable in ["", "e ENABLE CONDSTORE\r\n"] {
        let server = Server::new(Vec::new());
        let mut client = Client::new(&server, enable);
        each_way(|command, before| {
            for form in TAKEN.iter().filter(|form| form.to_lowercase().contains("qresync")) {
                client.say(if before { "s SELECT INBOX" } else { "s UNSELECT" });
                let line = format!("t {command} INBOX {}", client.put_in(form));
                let answer = client.say(&line);
                assert!(answer.contains("t BAD "), "{command} {form}: {answer}");
                assert_eq!(answer.contains("* OK [CLOSED]"), before, "{command} {form}: {answer}");
                assert!(!client.is_selected(), "{command} {form}");
            }
        });
    }
}

/// `count` ranges of two numbers each, rising, that do not touch.
fn many_ranges(count: u32) -> String {
    let ranges: Vec<_> = (0..count).map(|n| format!("{}:{}", n * 3 + 1, n * 3 + 2)).collect();
    ranges.join(",")
}

/// A set of 2^32−1 numbers could not even be counted through in the time that a test may take.
#[test]
fn many_and_wide_ranges_are_answered_from_what_is_there() {
    // [S-116] [S-131] [S-174]
    let limits =
        Limits { line_bytes_max: 8 << 20, command_bytes_max: 16 << 20, ..Limits::default() };
    let server = Server::with(Config { limits, ..Config::default() });
    let mut client = Client::new(&server, QRESYNC);
    let ranges = many_ranges(100_000);
    for form in [
        format!("(QRESYNC (V H {ranges}))"),
        format!("(QRESYNC (V H {ranges} ({ranges} {ranges})))"),
        format!("(QRESYNC (V 1 1:4294967295 ({ranges} {ranges})))"),
        format!("(QRESYNC (V 1 {ranges} (1:4294967295 1:4294967295)))"),
        "(QRESYNC (V 1 1:4294967295 (2:4294967295 2:4294967295)))".to_owned(),
    ] {
        let line = format!("t SELECT INBOX {}", client.put_in(&form));
        let answer = client.say(&line);
        assert!(answer.contains("t OK [READ-WRITE]"), "{answer}");
        assert!(answer.len() < 2000, "{} octets: {answer}", answer.len());
        assert!(!answer.contains("(EARLIER) 6"), "a UID that was never given: {answer}");
    }
    for modifier in ["(CHANGEDSINCE H VANISHED)", "(VANISHED CHANGEDSINCE 1)"] {
        for set in [ranges.as_str(), "1:4294967295", "4294967295:*", "*", "1,2,3,4294967295"] {
            let line = client.put_in(&format!("t UID FETCH {set} (FLAGS) {modifier}"));
            let answer = client.say(&line);
            assert!(answer.contains("t OK"), "{answer}");
            assert!(answer.len() < 2000, "{} octets: {answer}", answer.len());
            assert!(!answer.contains("VANISHED (EARLIER) 6"), "{answer}");
        }
    }
}

#[test]
fn a_line_above_the_limit_ends_the_connection() {
    // What follows cannot be told apart from commands: not BAD but BYE.
    let server = Server::new(Vec::new());
    let mut client = Client::new(&server, QRESYNC);
    let line = client.put_in(&format!("t SELECT INBOX (QRESYNC (V H {}))", many_ranges(100_000)));
    assert!(client.say(&line).starts_with("* BYE [TOOBIG] "));
}

#[test]
fn malformed_modifiers_of_fetch_are_bad_and_tell_nothing() {
    // [S-112] [S-127] RFC 7162 §3.2.6
    let server = Server::new(Vec::new());
    let mut client = Client::new(&server, QRESYNC);
    assert!(client.say("s SELECT INBOX").contains("s OK"));
    for form in [
        "FETCH 1:5 (FLAGS) (CHANGEDSINCE H VANISHED)",
        "FETCH 1:5 (FLAGS) (VANISHED)",
        "UID FETCH 1:5 (FLAGS) (VANISHED)",
        "UID FETCH 1:5 (FLAGS) VANISHED",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE H) (VANISHED)",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE H VANISHED VANISHED)",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE H CHANGEDSINCE H VANISHED)",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE VANISHED)",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE H VANISHED 1)",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE H VANISHED (1))",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE (H) VANISHED)",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE -1 VANISHED)",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE * VANISHED)",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE 9223372036854775808 VANISHED)",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE 99999999999999999999999 VANISHED)",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE H VANISHED",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE H,VANISHED)",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE H  VANISHED)",
        "UID FETCH 1:5 (FLAGS) ( CHANGEDSINCE H VANISHED)",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE H VANISHED )",
        "UID FETCH 1:5 (FLAGS) ()",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE {1+}\r\n1 VANISHED)",
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE {1}\r\n1 VANISHED)",
        "UID FETCH 1:5 (FLAGS) (UNCHANGEDSINCE H VANISHED)",
        "UID FETCH 1:5 (FLAGS) (QRESYNC (V H))",
        "UID FETCH 0 (FLAGS) (CHANGEDSINCE H VANISHED)",
        "UID FETCH 01 (FLAGS) (CHANGEDSINCE H VANISHED)",
        "UID FETCH 1:4294967296 (FLAGS) (CHANGEDSINCE H VANISHED)",
        "UID FETCH 1, (FLAGS) (CHANGEDSINCE H VANISHED)",
        "UID FETCH () (FLAGS) (CHANGEDSINCE H VANISHED)",
        "UID FETCH 1:5 (CHANGEDSINCE H VANISHED)",
        "UID FETCH 1:5 (FLAGS VANISHED) (CHANGEDSINCE H)",
        "UID STORE 1:5 (VANISHED) +FLAGS (x)",
        "UID SEARCH VANISHED",
    ] {
        let line = format!("t {}", client.put_in(form));
        let answer = client.say(&line);
        let lines: Vec<_> = answer.lines().filter(|line| !line.starts_with("+ ")).collect();
        assert_eq!(lines.len(), 1, "{form}: {answer}");
        assert!(lines[0].starts_with("t BAD "), "{form}: {answer}");
        assert!(client.is_selected(), "{form}");
    }
    for form in [
        "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE H VANISHED)",
        "uid fetch 1:5 flags (vanished changedsince H)",
        "UID FETCH 5:1 FAST (CHANGEDSINCE 0 VANISHED)",
        "UID FETCH 3 (FLAGS) (CHANGEDSINCE 9223372036854775807 VANISHED)",
    ] {
        let line = format!("t {}", client.put_in(form));
        let answer = client.say(&line);
        assert!(answer.starts_with("* VANISHED (EARLIER) 3\r\n"), "{form}: {answer}");
        assert!(answer.contains("t OK"), "{form}: {answer}");
    }
}

#[test]
fn from_before_what_is_remembered_all_that_are_not_there_have_vanished() {
    // [S-124] [S-130] [S-131] RFC 7162 §3.2.6
    let server = Server::new(Vec::new());
    let mut client = Client::new(&server, QRESYNC);
    assert!(client.say("s SELECT INBOX").contains("s OK"));
    let gone = client.say("d STORE 4 +FLAGS.SILENT (\\Deleted)\r\ne EXPUNGE");
    let forgotten = gone.split_once("[HIGHESTMODSEQ ").unwrap().1.split(']').next().unwrap();
    let forgotten: u64 = forgotten.parse().unwrap();
    assert_eq!(server.forget_history(), 2);
    // UIDs 1, 2 and 4 are left; what comes now is remembered.
    let later = client.say("f STORE 1 +FLAGS.SILENT (\\Deleted)\r\ng EXPUNGE");
    assert!(later.contains("* VANISHED 1\r\n"), "{later}");
    let mut vanished = |command: &str| {
        let answer = client.say(&client.put_in(&format!("t {command}")));
        assert!(answer.contains("t OK"), "{command}: {answer}");
        let lines = answer.lines().filter_map(|line| line.strip_prefix("* VANISHED (EARLIER) "));
        lines.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    let (below, at) = (forgotten - 1, forgotten);
    for (command, expected) in [
        (format!("SELECT INBOX (QRESYNC (V {below}))"), "1,3,5"),
        (format!("EXAMINE INBOX (QRESYNC (V {below} 2:4294967295))"), "3,5"),
        (format!("SELECT INBOX (QRESYNC (V {at}))"), "1"),
        (format!("SELECT INBOX (QRESYNC (V {at} 2:5))"), ""),
        ("SELECT INBOX (QRESYNC (V 1 2,4))".to_owned(), ""),
        ("SELECT INBOX (QRESYNC (V 1 (1:2 2,4)))".to_owned(), "5"),
        ("SELECT INBOX (QRESYNC (V 1 (1:2 2:3)))".to_owned(), "3,5"),
        (format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {below} VANISHED)"), "1,3,5"),
        (format!("UID FETCH 1:4294967295 (FLAGS) (CHANGEDSINCE {below} VANISHED)"), "1,3,5"),
        (format!("UID FETCH 1:4294967295 (FLAGS) (CHANGEDSINCE {at} VANISHED)"), "1"),
        ("UID FETCH 4:9 (FLAGS) (CHANGEDSINCE 1 VANISHED)".to_owned(), "5"),
        ("UID FETCH 6:9 (FLAGS) (CHANGEDSINCE 1 VANISHED)".to_owned(), ""),
    ] {
        assert_eq!(vanished(&command), expected, "{command}");
    }
}
