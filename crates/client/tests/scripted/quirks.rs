//! What servers do that no rule has foreseen: each is played with the lines that it is known for.

use crate::script::{options, play};
use client::imap::flag::{Flag, SystemFlag};
use client::imap::number::ModSeq;
use client::imap::set::UidSet;
use client::mirror::{Delta, Mirror, Reason};
use client::{Connection, Credentials, Quirks, Server, StoreOutcome};

/// Opens, asks who it is, and hands over.
async fn meet(dialogue: &str) -> (Connection, Quirks, crate::script::Played) {
    let server = play(dialogue);
    let opened = Connection::open(server.place(), &Credentials::None, &options()).await;
    let mut connection = opened.expect("a connection");
    let quirks = connection.identify().await.expect("an answer");
    (connection, quirks, server)
}

async fn sync(mirror: &mut Mirror, connection: &mut Connection) -> Delta {
    mirror.sync(connection).await.expect("level")
}

async fn see(connection: &mut Connection, uid: u32, since: u64) -> StoreOutcome {
    let since = ModSeq::new(since).expect("a mod-sequence");
    let uids = UidSet::from_ranges([(uid, uid)]);
    let flags = [Flag::System(SystemFlag::Seen)];
    connection.store(uids).unchanged_since(since).add(&flags).await.expect("an outcome")
}

const ID: &str = r#"C: h1 ID ("name" "highwater-client" "version" "0.1.0")"#;

#[tokio::test]
async fn gmail_has_no_qresync_says_codes_without_text_and_is_never_asked_since_0() {
    let (mut connection, quirks, server) = meet(
        "S: * OK [CAPABILITY IMAP4rev1 X-GM-EXT-1 CONDSTORE ENABLE] Gimap ready for requests
         C: h1 EXAMINE INBOX (CONDSTORE)
         S: * FLAGS (\\Seen)
         S: * OK [UIDVALIDITY 7]
         S: * 1 EXISTS
         S: * OK [HIGHESTMODSEQ 30]
         S: h1 OK [READ-ONLY]
         C: h2 UID FETCH 1:4294967295 (UID FLAGS MODSEQ)
         S: * 1 FETCH (UID 4 FLAGS () MODSEQ (30))
         S: h2 OK Success
         C: h3 EXAMINE INBOX (CONDSTORE)
         S: * OK [UIDVALIDITY 7]
         S: * 1 EXISTS
         S: * OK [HIGHESTMODSEQ 31]
         S: h3 OK [READ-ONLY]
         C: h4 UID FETCH 1:4294967295 (UID FLAGS MODSEQ) (CHANGEDSINCE 30)
         S: * 1 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (31))
         S: h4 OK Success",
    )
    .await;
    assert_eq!((quirks.server, quirks.qresync), (Server::Gmail, false));
    let mut mirror = Mirror::new("INBOX");
    assert_eq!(sync(&mut mirror, &mut connection).await.commit().mod_seq(), ModSeq::new(30));
    assert_eq!(sync(&mut mirror, &mut connection).await.commit().mod_seq(), ModSeq::new(31));
    assert!(mirror.reasons().is_empty());
    server.end();
}

#[tokio::test]
async fn icloud_is_not_asked_to_enable_what_it_does_not_enable() {
    let (mut connection, quirks, server) = meet(
        "S: * OK [CAPABILITY IMAP4rev1 CONDSTORE ENABLE QRESYNC XAPPLELITERAL] hello
         C: h1 EXAMINE INBOX (CONDSTORE)
         S: * 0 EXISTS
         S: * OK [UIDVALIDITY 7] ok
         S: * OK [HIGHESTMODSEQ 5] ok
         S: h1 OK done
         C: h2 UID FETCH 1:4294967295 (UID FLAGS MODSEQ)
         S: h2 OK done",
    )
    .await;
    assert_eq!((quirks.server, quirks.qresync), (Server::ICloud, false));
    let _ = sync(&mut Mirror::new("INBOX"), &mut connection).await.commit();
    server.end();
}

#[tokio::test]
async fn dovecots_ok_to_a_write_that_changed_nothing_is_no_win() {
    let (mut connection, quirks, server) = meet(&format!(
        "S: * OK [CAPABILITY IMAP4rev1 ID CONDSTORE] Dovecot ready.
         {ID}
         S: * ID (\"name\" \"Dovecot\")
         S: h1 OK ID completed.
         C: h2 UID STORE 4 (UNCHANGEDSINCE 30) +FLAGS (\\Seen)
         S: h2 OK Store completed.
         C: h3 UID FETCH 4 (UID FLAGS MODSEQ)
         S: * 4 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (30))
         S: h3 OK Fetch completed."
    ))
    .await;
    assert_eq!((quirks.exact_store, quirks.bump_before_claim), (false, true));
    let outcome = see(&mut connection, 4, 30).await;
    assert_eq!((outcome.won.len(), outcome.unproven.len()), (0, 1));
    server.end();
}

#[tokio::test]
async fn cyrus_is_found_out_when_it_leaves_out_the_highest_uid() {
    let (mut connection, quirks, server) = meet(&format!(
        "S: * OK [CAPABILITY IMAP4rev1 ID ENABLE CONDSTORE QRESYNC] x Cyrus IMAP 3.8.2 server ready
         {ID}
         S: * ID NIL
         S: h1 OK Completed
         C: h2 ENABLE QRESYNC
         S: * ENABLED QRESYNC
         S: h2 OK Completed
         C: h3 EXAMINE INBOX (CONDSTORE)
         S: * 2 EXISTS
         S: * OK [UIDVALIDITY 7] Ok
         S: * OK [HIGHESTMODSEQ 30] Ok
         S: h3 OK [READ-ONLY] Completed
         C: h4 UID FETCH 1:4294967295 (UID FLAGS MODSEQ)
         S: * 1 FETCH (UID 3 FLAGS () MODSEQ (30))
         S: * 2 FETCH (UID 4 FLAGS () MODSEQ (30))
         S: h4 OK Completed
         C: h5 EXAMINE INBOX (CONDSTORE QRESYNC (7 30))
         S: * OK [CLOSED] Ok
         S: * 1 EXISTS
         S: * OK [UIDVALIDITY 7] Ok
         S: * OK [HIGHESTMODSEQ 31] Ok
         S: h5 OK [READ-ONLY] Completed
         C: h6 UID FETCH 1:4294967295 (UID FLAGS MODSEQ)
         S: * 1 FETCH (UID 3 FLAGS () MODSEQ (30))
         S: h6 OK Completed"
    ))
    .await;
    assert_eq!((quirks.server, quirks.star_misses_vanished), (Server::Cyrus, true));
    let mut mirror = Mirror::new("INBOX");
    let _ = sync(&mut mirror, &mut connection).await.commit();
    // QRESYNC is enabled already: it is not asked for again.
    let delta = sync(&mut mirror, &mut connection).await;
    assert_eq!(delta.gone, UidSet::from_ranges([(4, 4)]));
    assert_eq!(mirror.reasons(), [Reason::CountDiffers]);
    server.end();
}

#[tokio::test]
async fn wildducks_silence_about_a_loser_is_read_back() {
    let (mut connection, quirks, server) = meet(&format!(
        "S: * OK [CAPABILITY IMAP4rev1 ID CONDSTORE] WildDuck ready for requests
         {ID}
         S: * ID (\"name\" \"WildDuck\")
         S: h1 OK done
         C: h2 UID STORE 4 (UNCHANGEDSINCE 30) +FLAGS (\\Seen)
         S: h2 OK done
         C: h3 UID FETCH 4 (UID FLAGS MODSEQ)
         S: * 4 FETCH (UID 4 FLAGS (\\Flagged) MODSEQ (31))
         S: h3 OK done"
    ))
    .await;
    assert!(!quirks.names_losers);
    let outcome = see(&mut connection, 4, 30).await;
    assert_eq!((outcome.won.len(), outcome.lost.len()), (0, 1));
    server.end();
}

#[tokio::test]
async fn purelymails_0_of_an_empty_mailbox_is_borne() {
    let (mut connection, quirks, server) = meet(
        "S: * OK [CAPABILITY IMAP4rev1 CONDSTORE] hello
         C: h1 EXAMINE INBOX (CONDSTORE)
         S: * 0 EXISTS
         S: * OK [UIDVALIDITY 7] ok
         S: * OK [HIGHESTMODSEQ 0] ok
         S: h1 OK done
         C: h2 UID FETCH 1:4294967295 (UID FLAGS MODSEQ)
         S: h2 OK done",
    )
    .await;
    assert_eq!(quirks.server, Server::Other);
    let mut mirror = Mirror::new("INBOX");
    assert_eq!(sync(&mut mirror, &mut connection).await.commit().mod_seq(), None);
    assert!(mirror.reasons().is_empty());
    server.end();
}

#[tokio::test]
async fn highwater_is_exact_and_one_that_refuses_to_say_is_unknown() {
    let (_, quirks, server) = meet(&format!(
        "S: * OK [CAPABILITY IMAP4rev1 ID] Highwater is ready
         {ID}
         S: * ID (\"name\" \"Highwater\" \"version\" \"9\")
         S: h1 OK done"
    ))
    .await;
    assert_eq!((quirks.server, quirks.exact_store), (Server::Highwater, true));
    server.end();
    let (_, quirks, server) =
        meet(&format!("S: * OK [CAPABILITY IMAP4rev1 ID] hello\n{ID}\nS: h1 BAD what")).await;
    assert_eq!((quirks.server, quirks.exact_store), (Server::Other, false));
    server.end();
}
