//! Command lines made up of good and bad pieces: what another parser takes or refuses, ours does, too.
//!
//! Where the two differ, a reason must be on one of the lists below, and each reason must be needed.
#![allow(clippy::panic, reason = "tests fail loudly")]

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use std::collections::BTreeSet;

/// What only the other side takes, by what our error says was expected.
const STRICTER: [(&str, &str); 11] = [
    (") behind the one UNCHANGEDSINCE", "once at most (RFC 7162 §3.1.3)"),
    ("CHANGEDSINCE or VANISHED, each at most once", "there is no meaning to the second"),
    ("CONDSTORE or QRESYNC, each at most once", "likewise"),
    (
        "\\Answered, \\Flagged, \\Deleted, \\Seen, \\Draft or a keyword (\\Recent cannot be set)",
        "no other system flag can be stored here, and \\Recent nowhere (RFC 3501 §2.3.2)",
    ),
    ("a FETCH item", "one item at least (RFC 3501 §9)"),
    ("a status item", "one item at least (RFC 3501 §9)"),
    ("a mailbox name that is not empty", "no mailbox has an empty name"),
    ("a number from 1", "nz-number begins with digit-nz (RFC 3501 §9)"),
    ("a number up to 9223372036854775807", "mod-sequences have 63 bits (RFC 7162 §7)"),
    ("at most 30 resources, each once", "of two limits of one resource, none is the one meant"),
    ("a set of numbers without *", "known UIDs hold no * (RFC 7162 §7)"),
];

/// What only our side takes, by a piece of the line.
const LOOSER: [(&str, &str); 4] = [
    (" $", "the saved result (RFC 5182), which the other side does not know"),
    ("LARGER 4294967296", "number64 (RFC 9051 §9)"),
    ("CHANGEDSINCE 0)", "0 means everything; some clients send it"),
    ("QRESYNC (1 0)", "likewise"),
];

/// Forms of commands; `#` stands for one of the pieces of the letter that follows it.
const FORMS: [&str; 42] = [
    "NOOP",
    "NOOP #g",
    "#c",
    "CLOSE",
    "UNSELECT",
    "CHECK",
    "EXPUNGE",
    "UID EXPUNGE #s",
    "NAMESPACE",
    "LOGIN #a #a",
    "LOGIN #a",
    "SELECT #m",
    "EXAMINE #m #p",
    "SELECT #m #p",
    "CREATE #m",
    "DELETE #m",
    "RENAME #m #m",
    "SUBSCRIBE #m",
    "UNSUBSCRIBE #a",
    "LSUB #a #l",
    "LIST #a #l",
    "STATUS #m #t",
    "GETQUOTA #a",
    "GETQUOTAROOT #m",
    "SETQUOTA #a #r",
    "ENABLE #c",
    "ENABLE #c #c",
    "ID #i",
    "FETCH #s #f",
    "UID FETCH #s (#f #f)",
    "FETCH #s (#f) #v",
    "UID FETCH #s #f #v",
    "STORE #s #u #o #k",
    "UID STORE #s #o #k",
    "STORE #s #o #k",
    "COPY #s #m",
    "UID COPY #s #m",
    "MOVE #s #m",
    "SEARCH #q",
    "UID SEARCH #q #q",
    "SEARCH (#q #q)",
    "SEARCH OR #q NOT #q",
];

/// The pieces by letter, `¦` between them: good, odd, and bad ones.
const PIECES: [(char, &str); 16] = [
    ('a', "x¦\"a b\"¦\"\"¦{3+}\r\na b¦{0+}\r\n¦a]¦a b¦a{¦\"\\\"\\\\\"¦\"\\x\"¦\"¦a%¦{4+}\r\nabc¦"),
    ('c', "CONDSTORE¦QRESYNC¦X-A=b¦capability¦(¦"),
    (
        'f',
        "FLAGS¦flags¦UID¦MODSEQ¦BODY¦BODY[]¦BODY.PEEK[1.2.MIME]\
         ¦BODY[HEADER.FIELDS (a \"b c\")]<0.5>¦BODY[MIME]¦BODY[0]¦BODY[1.]¦BODY[TEXT]<0.0>\
         ¦RFC822¦RFC822.SIZE¦ALL¦FAST¦FULL¦ENVELOPE¦FOO¦()¦",
    ),
    ('g', "x¦ ¦()"),
    ('i', "NIL¦(\"a\" \"b\")¦(\"a\" NIL)¦()¦(\"a\")¦(a b)¦x¦"),
    ('k', "()¦(\\Seen)¦\\Seen¦\\Seen \\Draft¦(x \\seen)¦(\\Recent)¦(\\X)¦x]¦(¦(\\Seen,x)¦"),
    ('l', "*¦%¦a%b*¦\"*\"¦{1+}\r\n*¦\"\"¦a\\¦(¦"),
    ('m', "INBOX¦inbox¦a¦\"a b\"¦a/b¦a&-b¦{3+}\r\nabc¦a*¦()¦a]¦"),
    ('o', "FLAGS¦+FLAGS¦-FLAGS.SILENT¦flags.silent¦*FLAGS¦FLAG¦+ FLAGS¦"),
    (
        'p',
        "(CONDSTORE)¦(condstore)¦(QRESYNC (67890007 90060115194045000 41:211,214:541))\
         ¦(QRESYNC (1 2))¦(QRESYNC (1 2 3 (1,3 4,5)))¦(QRESYNC (1 2 (1 4)))¦(QRESYNC (0 2))\
         ¦(QRESYNC (1 0))¦(QRESYNC (1 2 1:*))¦(QRESYNC (1 9223372036854775808))¦(QRESYNC)¦()\
         ¦(FOO)¦CONDSTORE¦(CONDSTORE CONDSTORE)¦(CONDSTORE QRESYNC (1 2))",
    ),
    (
        'q',
        "ALL¦SEEN¦1:3¦UID 5¦UNKEYWORD x¦KEYWORD \\Seen¦FROM a¦HEADER x \"\"\
         ¦BEFORE 1-Feb-1994¦ON \"01-Feb-1994\"¦SINCE 32-Feb-1994¦SENTON 1-Foo-1994¦LARGER 5\
         ¦SMALLER x¦OLDER 5¦YOUNGER 0¦MODSEQ 5¦MODSEQ \"/flags/\\\\seen\" all 5\
         ¦MODSEQ \"/flags/x\" priv 5¦MODSEQ \"/x\" priv 5¦MODSEQ x¦FOO¦NOT SEEN¦OR SEEN¦()\
         ¦(SEEN 1)¦TEXT {1+}\r\nx¦LARGER 4294967296¦",
    ),
    (
        'r',
        "(STORAGE 1)¦(storage 1 X-Y 9223372036854775807)¦()¦(STORAGE)¦(STORAGE -1)¦STORAGE 1¦(STORAGE 1\
         ¦(STORAGE 9223372036854775808)¦(STORAGE 1 MESSAGE 2 storage 3)¦( STORAGE 1)¦",
    ),
    ('s', "1¦1:*¦*¦*:1¦1,2:3¦5:2¦0¦1:¦1,,2¦4294967295¦4294967296¦01¦$¦x¦"),
    (
        't',
        "(MESSAGES)¦(messages UIDNEXT)¦(HIGHESTMODSEQ)¦(DELETED DELETED-STORAGE)¦()¦(FOO)¦MESSAGES¦(MESSAGES\
         ¦(MESSAGES MESSAGES)¦",
    ),
    (
        'u',
        "(UNCHANGEDSINCE 5)¦(unchangedsince 0)¦(UNCHANGEDSINCE 9223372036854775808)\
         ¦(UNCHANGEDSINCE)¦(FOO 1)¦()¦(UNCHANGEDSINCE 1 UNCHANGEDSINCE 2)",
    ),
    (
        'v',
        "(CHANGEDSINCE 5)¦(changedsince 5 VANISHED)¦(VANISHED CHANGEDSINCE 5)¦(VANISHED)\
         ¦(CHANGEDSINCE 0)¦(CHANGEDSINCE 9223372036854775808)¦(FOO)¦()\
         ¦(CHANGEDSINCE 1 CHANGEDSINCE 2)¦CHANGEDSINCE 5¦",
    ),
];

/// All ways to put pieces into a form.
fn lines(form: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut rest = form.chars();
    while let Some(ch) = rest.next() {
        let choices: Vec<String> = match ch {
            '#' => {
                let letter = rest.next();
                let pieces = PIECES.iter().find(|(name, _)| Some(*name) == letter);
                let Some((_, pieces)) = pieces else {
                    panic!("no pieces for {letter:?} in {form}")
                };
                pieces.split('¦').map(str::to_owned).collect()
            }
            plain => vec![plain.to_string()],
        };
        let longer =
            |line: &String| choices.iter().map(|c| format!("{line}{c}")).collect::<Vec<_>>();
        lines = lines.iter().flat_map(longer).collect();
    }
    lines
}

/// Whether the other parser takes the line.
fn takes(line: &str) -> bool {
    let sent = format!("{line}\r\n");
    CommandCodec::default().decode(sent.as_bytes()).is_ok_and(|(rest, _)| rest.is_empty())
}

#[test]
fn lines_are_taken_and_refused_alike() {
    let mut needed = BTreeSet::new();
    let mut taken = 0;
    for line in FORMS.into_iter().flat_map(lines) {
        let line = format!("a {line}");
        let reason = match (imap::parse::command(line.as_bytes()), takes(&line)) {
            (Ok(_), true) => {
                taken += 1;
                continue;
            }
            (Err(_), false) => continue,
            (Ok(_), false) => LOOSER.iter().find(|(piece, _)| line.contains(piece)),
            (Err(error), true) => {
                STRICTER.iter().find(|(expected, _)| *expected == error.error.expected)
            }
        };
        match reason {
            Some((reason, _)) => needed.insert(*reason),
            None => panic!("{line:?}: {:?}", imap::parse::command(line.as_bytes())),
        };
    }
    assert!(taken > 3000, "{taken} lines that both take are too few to compare anything");
    let listed: BTreeSet<_> = STRICTER.iter().chain(&LOOSER).map(|(reason, _)| *reason).collect();
    assert_eq!(needed, listed, "reasons that are needed, and those that are listed");
}
