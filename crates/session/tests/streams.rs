//! What a dialogue in a file cannot say: sizes, memory, and many clients at the same thing.
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

use runner::here::Server;
use session::{Closed, Config, Session, Sink};

/// A sink that sends when asked, and remembers how much it ever held.
#[derive(Default)]
struct Narrow {
    buffer: Vec<u8>,
    sent: Vec<u8>,
    held_max: usize,
}

impl Sink for Narrow {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        self.held_max = self.held_max.max(self.buffer.len());
        self.sent.append(&mut self.buffer);
        Ok(())
    }
}

fn say(server: &Server, session: &mut Session, octets: &[u8]) -> Narrow {
    let mut sink = Narrow::default();
    server.drive(session.receive(octets, &mut sink)).unwrap();
    server.drive(sink.flush()).unwrap();
    sink
}

fn text(sink: &Narrow) -> String {
    String::from_utf8_lossy(&sink.sent).into_owned()
}

fn selected(server: &Server) -> Session {
    let mut session = server.session();
    say(server, &mut session, b"a LOGIN alex secret\r\nb SELECT INBOX (CONDSTORE)\r\n");
    session
}

#[test]
fn a_long_message_comes_back_octet_for_octet_in_bounded_memory() {
    let server = Server::new(Vec::new());
    let mut session = selected(&server);
    let mut message = b"Subject: long\r\n\r\n".to_vec();
    message.extend((0..1_000_000_u32).map(|n| (n * 7 % 251) as u8));
    let head = format!("c APPEND INBOX {{{}+}}\r\n", message.len());
    let mut answer = say(&server, &mut session, head.as_bytes());
    for piece in message.chunks(10_000) {
        answer = say(&server, &mut session, piece);
    }
    assert!(answer.sent.is_empty());
    assert!(text(&say(&server, &mut session, b"\r\n")).contains("c OK [APPENDUID"));
    let fetched = say(&server, &mut session, b"d FETCH 1 (BODY.PEEK[])\r\n");
    let head = format!("* 1 FETCH (BODY[] {{{}}}\r\n", message.len());
    assert!(fetched.sent.starts_with(head.as_bytes()));
    assert!(fetched.sent[head.len()..].starts_with(&message));
    assert!(fetched.sent.ends_with(b")\r\nd OK Fetched\r\n"));
    assert!(fetched.held_max < 200 * 1024, "held {} octets", fetched.held_max);
    let part = say(&server, &mut session, b"e FETCH 1 (BODY.PEEK[]<500000.70000>)\r\n");
    assert!(part.sent.windows(70_000).any(|w| w == &message[500_000..570_000]));
}

fn append(server: &Server, session: &mut Session, count: usize) {
    for _ in 0..count {
        say(server, session, b"x APPEND INBOX {14+}\r\nSubject: x\r\n\r\n\r\n");
    }
}

#[test]
fn a_fetch_of_many_messages_answers_for_each() {
    let server = Server::new(Vec::new());
    let mut session = selected(&server);
    append(&server, &mut session, 200);
    for (command, count) in [
        ("FETCH 1:* (UID)", 200),
        ("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1)", 200),
        ("FETCH 1:* (ENVELOPE)", 200),
        ("FETCH 2:130 (MODSEQ)", 129),
    ] {
        let answer = text(&say(&server, &mut session, format!("y {command}\r\n").as_bytes()));
        assert_eq!(answer.matches(" FETCH (").count(), count, "{command}");
        assert!(answer.ends_with("y OK Fetched\r\n"), "{command}");
    }
}

#[test]
fn a_body_given_back_is_missed_alone_and_told_by_expungeissued() {
    // [S-147]
    let server = Server::new(Vec::new());
    let (mut slow, mut other) = (selected(&server), selected(&server));
    append(&server, &mut other, 3);
    say(&server, &mut slow, b"b NOOP\r\n");
    say(&server, &mut other, b"c STORE 2 +FLAGS (\\Deleted)\r\nd EXPUNGE\r\n");
    assert_eq!(server.reclaim(), 1);
    let fetched = text(&say(&server, &mut slow, b"e FETCH 1:3 (ENVELOPE)\r\n"));
    assert_eq!(fetched.matches("(ENVELOPE (").count(), 2, "{fetched}");
    assert!(fetched.contains("e NO [EXPUNGEISSUED]"), "{fetched}");
    let flags = text(&say(&server, &mut slow, b"f FETCH 1:3 (UID)\r\n"));
    assert_eq!(flags.matches(" FETCH (UID ").count(), 3, "{flags}");
    assert!(flags.contains("f OK"), "{flags}");
    let found = text(&say(&server, &mut slow, b"g SEARCH SUBJECT x\r\n"));
    assert!(found.contains("* SEARCH 1 3\r\n"), "{found}");
    assert!(found.contains("g OK [EXPUNGEISSUED]"), "{found}");
}

#[test]
fn of_many_claims_exactly_one_wins() {
    // [S-79] [S-82]
    let server = Server::new(Vec::new());
    let mut first = selected(&server);
    let mut sessions: Vec<Session> = (0..8).map(|_| selected(&server)).collect();
    for round in 1..=50 {
        let append = "x APPEND INBOX {4+}\r\na: b\r\n";
        say(&server, &mut first, append.as_bytes());
        let line =
            text(&say(&server, &mut first, format!("y FETCH {round} (MODSEQ)\r\n").as_bytes()));
        let mod_seq: u64 =
            line[line.find("(MODSEQ (").unwrap() + 9..line.find("))").unwrap()].parse().unwrap();
        let mut winners = 0;
        for (n, session) in sessions.iter_mut().enumerate() {
            let claim = format!(
                "c UID STORE {round} (UNCHANGEDSINCE {mod_seq}) +FLAGS.SILENT ($c{n})\r\n\
                 d UID STORE {round} (UNCHANGEDSINCE {mod_seq}) +FLAGS.SILENT ($c{n})\r\n"
            );
            let answer = text(&say(&server, session, claim.as_bytes()));
            assert_eq!(
                answer.matches("OK [MODIFIED").count() + answer.matches("OK Stored").count(),
                2
            );
            winners += answer.matches("OK Stored").count();
        }
        assert_eq!(winners, 1, "round {round}");
    }
}

#[test]
fn a_pipeline_answers_as_one_by_one() {
    // [S-82]: the same commands, in one piece and one at a time, on two servers.
    let mut commands: Vec<String> = Vec::new();
    for n in 0..200 {
        commands.push(match n % 7 {
            0 => format!("t{n} STORE 1:3 +FLAGS (k{})\r\n", n % 5),
            1 => format!("t{n} UID STORE 2 (UNCHANGEDSINCE {}) FLAGS.SILENT (\\Seen)\r\n", n + 1),
            2 => format!("t{n} STORE 9 +FLAGS (x)\r\n"),
            3 => format!("t{n} UID STORE 1:* -FLAGS.SILENT (k{})\r\n", n % 3),
            4 => format!("t{n} STORE 3 (UNCHANGEDSINCE 4) +FLAGS (\\Flagged)\r\n"),
            5 => format!("t{n} FETCH 1:* (FLAGS MODSEQ)\r\n"),
            _ => format!("t{n} UID STORE 3 FLAGS (\\Draft)\r\n"),
        });
    }
    let begin = |server: &Server| {
        let mut session = selected(server);
        for _ in 0..3 {
            say(server, &mut session, b"x APPEND INBOX {4+}\r\na: b\r\n");
        }
        session
    };
    let (one, other) = (Server::new(Vec::new()), Server::new(Vec::new()));
    let (mut at_once, mut in_turn) = (begin(&one), begin(&other));
    let together = text(&say(&one, &mut at_once, commands.concat().as_bytes()));
    let apart: String =
        commands.iter().map(|c| text(&say(&other, &mut in_turn, c.as_bytes()))).collect();
    assert_eq!(together, apart);
}

#[test]
fn octets_may_come_one_by_one() {
    let server = Server::new(Vec::new());
    let mut session = server.session();
    let all = b"a LOGIN alex {6+}\r\nsecret\r\nb APPEND INBOX {4+}\r\na: b\r\nc SELECT INBOX\r\nd FETCH 1 (FLAGS)\r\n";
    let answers: String =
        all.iter().map(|octet| text(&say(&server, &mut session, &[*octet]))).collect();
    for tag in ["a", "b", "c", "d"] {
        assert!(
            answers.contains(&format!("\r\n{tag} OK")) || answers.starts_with(&format!("{tag} OK")),
            "{answers}"
        );
    }
}

#[test]
fn noise_never_panics() {
    let server = Server::new(Vec::new());
    let mut seed = 1_u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize
    };
    let words = [
        "a",
        "FETCH",
        "UID",
        "STORE",
        "SELECT",
        "INBOX",
        "1:*",
        "(",
        ")",
        "{3}",
        "{3+}",
        "\r\n",
        "(FLAGS)",
        "SEARCH",
        "RETURN",
        "MODSEQ",
        "0",
        "4294967295",
        "IDLE",
        "DONE",
        "APPEND",
        "\"",
        "LIST",
        "%",
        "*",
        "$",
        "(UNCHANGEDSINCE 1)",
        "+FLAGS",
        "(\\Seen)",
        "BODY[]",
        "EXPUNGE",
        "ENABLE QRESYNC",
        "\0",
        "é",
        "NOOP",
        "COPY",
        "MOVE",
        "CLOSE",
        "RENAME",
        "DELETE",
        "(QRESYNC (1 1))",
        "VANISHED",
        "NOT",
        "OR",
    ];
    for _ in 0..300 {
        let mut session = selected(&server);
        for _ in 0..20 {
            let mut line = String::new();
            for _ in 0..random() % 12 {
                line.push_str(words[random() % words.len()]);
                if random() % 4 > 0 {
                    line.push(' ');
                }
            }
            line.push_str("\r\n");
            let mut sink = Narrow::default();
            let next = server.drive(session.receive(line.as_bytes(), &mut sink)).unwrap();
            if next != session::Next::Read {
                break;
            }
        }
    }
}

#[test]
fn odd_octets_come_back_as_they_were_sent() {
    // [H8]: 8-bit, NUL, bare LF and bare CR, whole and in part.
    let server = Server::new(Vec::new());
    let mut session = selected(&server);
    let message = b"Subject: \xff\xfe\nX-B\r: 1\r\n\r\n\0\x80 a\rb\nc\0\r\n.\r\n\n\xe4";
    let head = format!("c APPEND INBOX {{{}+}}\r\n", message.len());
    let append = [head.as_bytes(), message, b"\r\n"].concat();
    assert!(text(&say(&server, &mut session, &append)).contains("c OK [APPENDUID"));
    let mut expect = |item: &str, octets: &[u8]| {
        let command = format!("d FETCH 1 ({})\r\n", item.replace("BODY[", "BODY.PEEK["));
        let sent = say(&server, &mut session, command.as_bytes()).sent;
        let name = item.split('<').next().unwrap();
        let origin = item
            .split_once('<')
            .map_or(String::new(), |(_, part)| format!("<{}>", part.split('.').next().unwrap()));
        let head = format!("* 1 FETCH ({name}{origin} {{{}}}\r\n", octets.len());
        let line = [head.as_bytes(), octets, b")\r\n"].concat();
        assert!(sent.starts_with(&line), "{item}: {}", String::from_utf8_lossy(&sent));
    };
    let text_at = message.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    expect("BODY[]", message);
    expect("BODY[HEADER]", &message[..text_at]);
    expect("BODY[TEXT]", &message[text_at..]);
    expect("BODY[1]", &message[text_at..]);
    expect("BODY[TEXT]<1.3>", &message[text_at + 1..text_at + 4]);
    expect("BODY[HEADER.FIELDS (SUBJECT)]", b"Subject: \xff\xfe\n\r\n");
    let size = format!("RFC822.SIZE {})", message.len());
    assert!(text(&say(&server, &mut session, b"e FETCH 1 RFC822.SIZE\r\n")).contains(&size));
}

#[test]
fn field_names_of_any_octets_come_back_as_they_were_asked_for() {
    // RFC 3501 §9: header-fld-name is an astring; a literal's length must be true.
    let server = Server::new(Vec::new());
    let mut session = selected(&server);
    say(&server, &mut session, b"c APPEND INBOX {8+}\r\na: b\r\n\r\n\r\n");
    let command = b"d FETCH 1 BODY.PEEK[HEADER.FIELDS ({3+}\r\n\xff\r\n \"a\\\"b\" {0+}\r\n)]\r\n";
    let sent = say(&server, &mut session, command).sent;
    let expected =
        b"* 1 FETCH (BODY[HEADER.FIELDS ({3}\r\n\xff\r\n \"a\\\"b\" \"\")] {2}\r\n\r\n)\r\nd OK";
    assert!(sent.starts_with(expected), "{}", String::from_utf8_lossy(&sent));
}

#[test]
fn a_client_that_lags_too_far_is_sent_away() {
    let server = Server::with(Config { held_back_max: 2, ..Config::default() });
    let (mut slow, mut other) = (selected(&server), selected(&server));
    say(
        &server,
        &mut other,
        "a APPEND INBOX {4+}\r\na: b {4+}\r\na: b {4+}\r\na: b {4+}\r\na: b\r\n".as_bytes(),
    );
    say(&server, &mut slow, b"b NOOP\r\n");
    say(&server, &mut other, b"c STORE 1:3 +FLAGS (\\Deleted)\r\nd EXPUNGE\r\n");
    let answer = text(&say(&server, &mut slow, b"e FETCH 4 (FLAGS)\r\n"));
    assert!(answer.contains("* BYE [LIMIT]") && !answer.contains("e OK"), "{answer}");
}
