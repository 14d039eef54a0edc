//! A job that is settled while a person keeps touching its message.

use crate::script::{Played, options, play};
use client::queue::{Claim, Policy, Queue, Settle, Settled};
use client::{Connection, Credentials};
use std::fmt::Write as _;

/// A server with an exact STORE and one job, UID 6, which the worker has claimed; UID 9 gives it its code.
const CLAIMED: &str = r#"
    S: * OK [CAPABILITY IMAP4rev1 CONDSTORE UIDPLUS LITERAL+ ID] hello
    C: h1 ID *
    S: * ID ("name" "Highwater")
    S: h1 OK done
    C: h2 SELECT Jobs (CONDSTORE)
    S: * 1 EXISTS
    S: * OK [UIDVALIDITY 7] ok
    S: * OK [PERMANENTFLAGS (\Deleted \Seen \*)] ok
    S: * OK [HIGHESTMODSEQ 12] ok
    S: h2 OK [READ-WRITE] done
    C: h3 UID FETCH 1:4294967295 (UID FLAGS INTERNALDATE MODSEQ)
    S: * 1 FETCH (UID 6 FLAGS () INTERNALDATE "01-Jan-2026 00:00:00 +0000" MODSEQ (12))
    S: h3 OK done
    C: h4 APPEND *
    C: Subject: Queue worker w
    C: X-Queue-Worker: *
    C: MIME-Version: 1.0
    C: Content-Type: *
    C: Content-Transfer-Encoding: 8bit
    C:
    C: test
    C:
    S: * 2 EXISTS
    S: h4 OK [APPENDUID 7 9] done
    C: h5 NOOP
    S: h5 OK done
    C: h6 UID FETCH 7:4294967295 (UID FLAGS INTERNALDATE MODSEQ)
    S: * 2 FETCH (UID 9 FLAGS (\Seen $qw) INTERNALDATE "01-Jan-2026 00:00:00 +0000" MODSEQ (13))
    S: h6 OK done
    C: h7 UID STORE 6 (UNCHANGEDSINCE 12) +FLAGS ($q0 $q2 $q3 $q4 $q6)
    S: * 1 FETCH (UID 6 MODSEQ (14) FLAGS ($q0 $q2 $q3 $q4 $q6))
    S: h7 OK done
"#;

async fn claimed(more: &str) -> (Queue, Vec<Claim>, Played) {
    let server = play(&format!("{CLAIMED}{more}"));
    let opened = Connection::open(server.place(), &Credentials::None, &options()).await;
    let opened = opened.expect("a connection");
    let mut queue = Queue::open(opened, "Jobs", Policy::default()).await.expect("a queue");
    queue.load().await.expect("its jobs");
    queue.register("w", "test").await.expect("a registration");
    let claims = queue.claim(1).await.expect("claims");
    assert_eq!(claims.len(), 1);
    (queue, claims, server)
}

/// So many writes that a person was ahead of; the server names the loser and nothing else.
fn overtaken(times: u32) -> String {
    let mut dialogue = String::new();
    for n in 0..times {
        let (store, fetch) = (8 + 2 * n, 9 + 2 * n);
        // The person sets \Seen and clears it.
        let (before, after) = (14 + n, 15 + n);
        let had = if n > 0 && n % 2 == 1 { "\\Seen " } else { "" };
        let has = if n % 2 == 0 { " \\Seen" } else { "" };
        let written = write!(
            dialogue,
            "C: h{store} UID STORE 6 (UNCHANGEDSINCE {before}) FLAGS ({had}*
             S: h{store} OK [MODIFIED 6] not now
             C: h{fetch} UID FETCH 6 (UID FLAGS MODSEQ)
             S: * 1 FETCH (UID 6 FLAGS ($q0 $q2 $q3 $q4 $q6{has}) MODSEQ ({after}))
             S: h{fetch} OK done\n"
        );
        written.expect("room");
    }
    dialogue
}

#[tokio::test]
async fn a_loser_reads_the_state_and_tries_again_but_not_for_ever() {
    // [C-16]
    let ends = "C: h12 UID STORE 6 (UNCHANGEDSINCE 16) FLAGS (\\Deleted *
         S: * 1 FETCH (UID 6 MODSEQ (17) FLAGS (\\Deleted $q0 $q2 $q3 $q4 $q6 $done))
         S: h12 OK done
         C: h13 UID EXPUNGE 6
         S: * 1 EXPUNGE
         S: h13 OK done";
    let two = overtaken(2);
    let (mut queue, mut claims, server) = claimed(&format!("{two}{ends}")).await;
    let jobs = claims.iter_mut().map(|claim| (claim, Settle::Ack)).collect();
    assert_eq!(queue.settle(jobs).await.expect("an end"), [Settled::Done]);
    queue.cleared().await.expect("that it is gone");
    server.end();
    let (mut queue, mut claims, server) = claimed(&overtaken(6)).await;
    let jobs = claims.iter_mut().map(|claim| (claim, Settle::Ack)).collect();
    assert_eq!(queue.settle(jobs).await.expect("an end"), [Settled::Lost]);
    server.end();
}

#[tokio::test]
async fn what_the_last_write_did_counts() {
    // [C-16]
    let ends = "C: h18 UID STORE 6 (UNCHANGEDSINCE 19) FLAGS (\\Seen \\Deleted *
         S: * 1 FETCH (UID 6 MODSEQ (20) FLAGS (\\Seen \\Deleted $q0 $q2 $q3 $q4 $q6 $done))
         S: h18 OK done
         C: h19 UID EXPUNGE 6
         S: * 1 EXPUNGE
         S: h19 OK done";
    let five = overtaken(5);
    let (mut queue, mut claims, server) = claimed(&format!("{five}{ends}")).await;
    let jobs = claims.iter_mut().map(|claim| (claim, Settle::Ack)).collect();
    assert_eq!(queue.settle(jobs).await.expect("an end"), [Settled::Done]);
    queue.cleared().await.expect("that it is gone");
    server.end();
}
