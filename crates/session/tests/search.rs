//! SEARCH answers the same whatever is remembered of messages that were searched before.
//!
//! The same messages and the same searches in three servers: one that remembers nothing, one with room for a part, and one
//! with room for all.
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
use session::{Config, Session};
use std::fmt::Write as _;

const WORDS: [&str; 12] = [
    "ledger", "harbour", "Ébauche", "quorum", "lantern", "gravel", "STRASSE", "tide", "ab", "x-y",
    "Re: tide", "naïve",
];
const KEYS: [&str; 22] = [
    "SUBJECT tide",
    "SUBJECT \"re: t\"",
    "SUBJECT \"\"",
    "FROM harbour",
    "TO gravel",
    "CC ledger",
    "HEADER X-Kind quorum",
    "BODY lantern",
    "BODY ab",
    "BODY \"gravel lan\"",
    "BODY {8+}\r\n\u{e9}bauche",
    "TEXT x-kind",
    "TEXT harbour",
    "TEXT strasse",
    "TEXT nothinglikethis",
    "NOT SUBJECT tide",
    "NOT BODY quorum",
    "OR SUBJECT lantern BODY tide",
    "UNSEEN TEXT ledger",
    "OR SEEN (SUBJECT tide FROM harbour)",
    "10:70 BODY harbour",
    "NOT (OR TEXT tide NOT SUBJECT ab)",
];

struct Dice(u64);

impl Dice {
    fn word(&mut self) -> &'static str {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        WORDS[usize::try_from(self.0 >> 33).unwrap() % WORDS.len()]
    }
}

/// One message; some fields are absent, some stand twice, some are encoded.
fn message(dice: &mut Dice) -> String {
    let mut text = format!("From: {} <a@example.org>\r\nX-Kind: {}\r\n", dice.word(), dice.word());
    for name in ["Subject", "Subject", "To", "Cc"] {
        if dice.word() != "tide" {
            write!(text, "{name}: {} {}\r\n", dice.word(), dice.word()).unwrap();
        }
    }
    text.push_str("Content-Type: text/plain; charset=utf-8\r\n\r\n");
    (0..4).for_each(|_| write!(text, "{} ", dice.word()).unwrap());
    text + "\r\n"
}

fn say(server: &Server, session: &mut Session, text: &str) -> String {
    let mut out = Vec::new();
    server.drive(session.receive(text.as_bytes(), &mut out)).unwrap();
    String::from_utf8(out).unwrap()
}

fn append(dice: &mut Dice, count: usize) -> String {
    (0..count).fold(String::new(), |mut all, number| {
        let (text, flags) = (message(dice), if number % 3 == 0 { "(\\Seen)" } else { "()" });
        write!(all, "a APPEND INBOX {flags} {{{}+}}\r\n{text}\r\n", text.len()).unwrap();
        all
    })
}

#[test]
fn what_is_remembered_changes_no_answer() {
    let rooms = [0, 12_000, 1 << 24];
    let servers = rooms
        .map(|search_octets_max| Server::with(Config { search_octets_max, ..Config::default() }));
    let mut sessions = servers.each_ref().map(Server::session);
    let mut all = |text: &str| {
        let answers: Vec<String> = servers
            .iter()
            .zip(&mut sessions)
            .map(|(server, session)| say(server, session, text))
            .collect();
        assert_eq!(answers[0], answers[1], "a part is remembered: {text}");
        assert_eq!(answers[0], answers[2], "all is remembered: {text}");
        answers[0].clone()
    };
    let mut dice = Dice(4551);
    all("a LOGIN alex secret\r\n");
    all(&append(&mut dice, 300));
    all("b SELECT INBOX\r\n");
    let mut found = 0;
    for round in 0..4 {
        for key in KEYS {
            let answer =
                all(&format!("c UID SEARCH {key}\r\nd SEARCH RETURN (COUNT MIN) {key}\r\n"));
            assert!(answer.contains("c OK") && answer.contains("d OK"), "{key}: {answer}");
            found += answer.split_whitespace().count();
        }
        all(&append(&mut dice, 70));
        all(&format!(
            "e STORE {}:{} +FLAGS (\\Deleted)\r\nf EXPUNGE\r\n",
            20 * round + 1,
            20 * round + 15
        ));
    }
    assert!(found > 10_000, "the searches find something: {found}");
}
