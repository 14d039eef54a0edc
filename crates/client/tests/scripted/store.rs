//! Conditional STORE over a connection.

use crate::script::{options, play, play_with};
use client::imap::encode::Code;
use client::imap::flag::{Flag, SystemFlag};
use client::imap::number::ModSeq;
use client::imap::set::UidSet;
use client::{Connection, Credentials, Error};
use std::io::{BufRead as _, Write as _};

const HELLO: &str = "S: * OK [CAPABILITY IMAP4rev1 CONDSTORE] hello\n";
const SEEN: [Flag; 1] = [Flag::System(SystemFlag::Seen)];

fn since(n: u64) -> ModSeq {
    ModSeq::new(n).expect("a mod-sequence")
}

#[tokio::test]
async fn bad_is_no_outcome_and_no_with_modified_is_one() {
    // [C-17, C-34]
    let server = play(&format!(
        "{HELLO}
         C: h1 UID STORE 1:2 (UNCHANGEDSINCE 9) +FLAGS (\\Seen)
         S: * 1 FETCH (UID 1 FLAGS () MODSEQ (12))
         S: h1 BAD what
         C: h2 UID STORE 1:3 (UNCHANGEDSINCE 9) +FLAGS (\\Seen)
         S: * 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (13))
         S: h2 NO [MODIFIED 2] not all
         C: h3 UID FETCH 3 (UID FLAGS MODSEQ)
         S: h3 OK done"
    ));
    let opened = Connection::open(server.place(), &Credentials::None, &options()).await;
    let mut connection = opened.expect("a connection");
    let uids = UidSet::from_ranges([(1, 2)]);
    let refused = connection.store(uids).unchanged_since(since(9)).add(&SEEN).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    let uids = UidSet::from_ranges([(1, 3)]);
    let outcome = connection.store(uids).unchanged_since(since(9)).add(&SEEN).await;
    let outcome = outcome.expect("an outcome");
    assert_eq!((outcome.won.len(), outcome.lost.len(), outcome.vanished.len()), (1, 1, 1));
    server.end();
}

#[tokio::test]
async fn a_set_of_many_is_asked_for_in_short_lines() {
    // [C-31]
    let server = play_with(HELLO, |mut stream| {
        let mut told = 0;
        for piece in 1..=4 {
            let mut line = String::new();
            stream.read_line(&mut line).expect("a line");
            assert!(line.len() <= 8192 && line.starts_with(&format!("h{piece} UID STORE")));
            let set = line.split(' ').nth(3).expect("a set").to_owned();
            let mut answer = String::new();
            for uid in set.split(',') {
                told += 1;
                let number = told;
                answer += &format!("* {number} FETCH (UID {uid} FLAGS (\\Seen) MODSEQ (10))\r\n");
            }
            answer += &format!("h{piece} OK done\r\n");
            stream.get_mut().write_all(answer.as_bytes()).expect("the client listens");
        }
    });
    let opened = Connection::open(server.place(), &Credentials::None, &options()).await;
    let mut connection = opened.expect("a connection");
    let uids =
        UidSet::from_ranges((0..1000).map(|n| (4_000_000_000 + 2 * n, 4_000_000_000 + 2 * n)));
    let outcome = connection.store(uids).unchanged_since(since(9)).add(&SEEN).await;
    assert_eq!(outcome.expect("an outcome").won.len(), 1000);
    server.end();
}

#[tokio::test]
async fn the_condition_is_what_a_fetch_of_the_message_tells() {
    // [C-2]: a server that has no mod-sequences is not asked for them.
    let server = play(&format!(
        "{HELLO}
         C: h1 SELECT Jobs (CONDSTORE)
         S: * OK [HIGHESTMODSEQ 90] x
         S: * OK [UIDVALIDITY 7] x
         S: h1 OK done
         C: h2 UID FETCH 1,3 (UID FLAGS MODSEQ)
         S: * 1 FETCH (UID 1 FLAGS () MODSEQ (9))
         S: h2 OK done"
    ));
    let opened = Connection::open(server.place(), &Credentials::None, &options()).await;
    let mut connection = opened.expect("a connection");
    let selected = connection.select("Jobs", false).await.expect("an answer");
    assert!(matches!(selected.codes().collect::<Vec<_>>()[..], [Code::UidValidity(_)]));
    let uids = UidSet::from_ranges([(1, 1), (3, 3)]);
    let answer = connection.fetch_state(&uids).await.expect("an answer");
    let seen: Vec<_> = answer.fetched().map(|seen| (seen.uid.value(), seen.mod_seq)).collect();
    assert_eq!(seen, [(1, ModSeq::new(9))]);
    server.end();
    let server = play(
        "S: * OK [CAPABILITY IMAP4rev1] hello
         C: h1 UID FETCH 1,3 (UID FLAGS)
         S: h1 NO no",
    );
    let opened = Connection::open(server.place(), &Credentials::None, &options()).await;
    let mut connection = opened.expect("a connection");
    assert!(matches!(connection.fetch_state(&uids).await, Err(Error::Refused(_))));
    server.end();
}
