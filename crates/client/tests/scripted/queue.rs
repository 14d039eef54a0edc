//! The queue on servers that tell what a command has changed before the answer to another one.

use crate::script::{Played, options, play};
use client::imap::number::Uid;
use client::queue::{Claim, Policy, Queue, Settle, Settled};
use client::{Connection, Credentials};
use std::time::Duration;

/// A worker that is about to register: two jobs, 5 and 6, of which 5 is held by another.
const OPENED: &str = r#"
    S: * OK [CAPABILITY IMAP4rev1 CONDSTORE UIDPLUS LITERAL+ ID] hello
    C: h1 ID *
    S: * ID ("name" "Dovecot")
    S: h1 OK done
    C: h2 SELECT Jobs (CONDSTORE)
    S: * 2 EXISTS
    S: * OK [UIDVALIDITY 7] ok
    S: * OK [PERMANENTFLAGS (\Deleted \Seen \*)] ok
    S: * OK [HIGHESTMODSEQ 10] ok
    S: h2 OK [READ-WRITE] done
    C: h3 UID FETCH 1:4294967295 (UID FLAGS INTERNALDATE MODSEQ)
    S: * 1 FETCH (UID 5 FLAGS ($q0 $q1 $q2 $q3 $q4) INTERNALDATE "01-Jan-2026 00:00:00 +0000" MODSEQ (9))
    S: * 2 FETCH (UID 6 FLAGS () INTERNALDATE "01-Jan-2026 00:00:00 +0000" MODSEQ (12))
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
    S: * 3 EXISTS
    S: h4 OK [APPENDUID 7 9] done
    C: h5 NOOP
    S: h5 OK done
    C: h6 UID FETCH 7:4294967295 (UID FLAGS INTERNALDATE MODSEQ)
    S: * 3 FETCH (UID 9 FLAGS (\Seen $qw) INTERNALDATE "01-Jan-2026 00:00:00 +0000" MODSEQ (11))
    S: h6 OK done
"#;

const LEASE: Duration = Duration::from_secs(60);

/// Opens the queue of such a server and registers; UID 9 gives the worker the code `$q0 $q2 $q3 $q4 $q6`.
async fn worker(lease: Duration, more: &str) -> (Queue, Played) {
    let server = play(&format!("{OPENED}{more}"));
    let opened = Connection::open(server.place(), &Credentials::None, &options()).await;
    let policy = Policy { lease, ..Policy::default() };
    let mut queue =
        Queue::open(opened.expect("a connection"), "Jobs", policy).await.expect("a queue");
    queue.load().await.expect("its jobs");
    assert_eq!(
        queue.register("w", "test").await.expect("a registration"),
        Uid::new(9).unwrap_or(Uid::MIN)
    );
    (queue, server)
}

fn held(claims: &[Claim]) -> Vec<(u32, bool, Option<u64>)> {
    let held = claims.iter().map(|claim| {
        let token = claim.token;
        (token.uid.value(), claim.taken_over, token.mod_seq.map(|mod_seq| mod_seq.value()))
    });
    held.collect()
}

#[tokio::test]
async fn a_claim_is_proven_by_what_is_told_before_the_answer_to_another_command() {
    let (mut queue, server) = worker(
        LEASE,
        r"
        C: h7 UID STORE 9 +FLAGS ($qh)
        C: h8 UID STORE 6 (UNCHANGEDSINCE 12) +FLAGS ($q0 $q2 $q3 $q4 $q6)
        S: * 2 FETCH (UID 6 MODSEQ (14) FLAGS ($q0 $q2 $q3 $q4 $q6))
        S: * 3 FETCH (UID 9 MODSEQ (13) FLAGS (\Seen $qw $qh))
        S: h7 OK done
        S: h8 OK done
        C: h9 UID STORE 9 -FLAGS ($qh)
        C: h10 UID STORE 6 (UNCHANGEDSINCE 14) FLAGS (\Deleted $q0 $q2 $q3 $q4 $q6 $done)
        S: * 2 FETCH (UID 6 MODSEQ (16) FLAGS (\Deleted $q0 $q2 $q3 $q4 $q6 $done))
        S: * 3 FETCH (UID 9 MODSEQ (15) FLAGS (\Seen $qw))
        S: h9 OK done
        S: h10 OK done
        C: h11 UID EXPUNGE 6
        S: * 2 EXPUNGE
        S: h11 OK done",
    )
    .await;
    let mut claims = queue.claim(1).await.expect("claims");
    assert_eq!(held(&claims), [(6, false, Some(14))]);
    let jobs = claims.iter_mut().map(|claim| (claim, Settle::Ack)).collect();
    assert_eq!(queue.settle(jobs).await.expect("an end"), [Settled::Done]);
    queue.cleared().await.expect("that it is gone");
    server.end();
}

#[tokio::test]
async fn a_job_is_taken_over_although_all_is_told_early() {
    let (mut queue, server) = worker(
        Duration::ZERO,
        r"
        C: h7 UID STORE 9 +FLAGS ($qh)
        C: h8 UID STORE 6 (UNCHANGEDSINCE 12) +FLAGS ($q0 $q2 $q3 $q4 $q6)
        S: h7 OK done
        S: h8 OK [MODIFIED 6] somebody was faster
        C: h9 NOOP
        C: h10 UID FETCH 6 (UID FLAGS MODSEQ)
        S: * 2 FETCH (UID 6 FLAGS ($q1 $q2 $q3 $q4 $q5) MODSEQ (13))
        S: h9 OK done
        S: h10 OK done
        C: h11 UID STORE 9 +FLAGS ($qh)
        C: h12 UID STORE 5 (UNCHANGEDSINCE 9) FLAGS ($q0 $q2 $q3 $q4 $q6 $t0 $qh)
        S: * 1 FETCH (UID 5 MODSEQ (15) FLAGS ($q0 $q2 $q3 $q4 $q6 $t0 $qh))
        S: * 3 FETCH (UID 9 MODSEQ (14) FLAGS (\Seen $qw $qh))
        S: h11 OK done
        S: h12 OK done
        C: h13 NOOP
        C: h14 UID FETCH 5 (UID FLAGS MODSEQ)
        S: * 1 FETCH (UID 5 FLAGS ($q0 $q2 $q3 $q4 $q6 $t0 $qh) MODSEQ (15))
        S: h13 OK done
        S: h14 OK done",
    )
    .await;
    assert_eq!(held(&queue.claim(1).await.expect("claims")), [(5, true, Some(15))]);
    let there: Vec<u32> = queue.view().jobs().map(|job| job.uid.value()).collect();
    assert_eq!(there, [5, 6, 9], "what was told early is not gone");
    server.end();
}

#[tokio::test]
async fn what_was_told_early_of_another_is_no_proof() {
    let (mut queue, server) = worker(
        LEASE,
        r"
        C: h7 UID STORE 9 +FLAGS ($qh)
        C: h8 UID STORE 6 (UNCHANGEDSINCE 12) +FLAGS ($q0 $q2 $q3 $q4 $q6)
        S: * 2 FETCH (UID 6 MODSEQ (13) FLAGS ($q1 $q2 $q3 $q4 $q5))
        S: h7 OK done
        S: * 2 FETCH (UID 6 MODSEQ (14) FLAGS ($q0 $q1 $q2 $q3 $q4 $q5 $q6))
        S: h8 OK done",
    )
    .await;
    assert_eq!(held(&queue.claim(1).await.expect("claims")), []);
    server.end();
}
