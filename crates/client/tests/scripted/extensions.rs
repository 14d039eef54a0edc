//! COMPRESS and NOTIFY over a connection.

use crate::script::{options, play, play_with};
use client::imap::command::{CommandBody, StatusItem};
use client::imap::response::Response;
use client::{Connection, Credentials, Error};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::task::Poll;
use std::time::Duration;

/// The server's half of a compressed connection.
struct Peer {
    stream: BufReader<TcpStream>,
    outward: Compress,
    inward: Decompress,
}

impl Peer {
    fn packed(&mut self, text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 1024);
        let done = self.outward.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync);
        done.expect("room");
        out
    }

    fn send(&mut self, octets: &[u8]) {
        self.stream.get_mut().write_all(octets).expect("the client listens");
    }

    fn line(&mut self) -> String {
        let mut line = Vec::with_capacity(64 * 1024);
        while !line.ends_with(b"\r\n") {
            let mut octet = [0];
            self.stream.read_exact(&mut octet).expect("an octet");
            let done = self.inward.decompress_vec(&octet, &mut line, FlushDecompress::Sync);
            done.expect("DEFLATE");
        }
        String::from_utf8(line).expect("UTF-8")
    }
}

fn peer(stream: BufReader<TcpStream>) -> Peer {
    let outward = Compress::new(Compression::fast(), false);
    Peer { stream, outward, inward: Decompress::new(false) }
}

const HELLO: &str = "S: * OK [CAPABILITY IMAP4rev1 IDLE NOTIFY COMPRESS=DEFLATE] hello";

#[tokio::test]
async fn what_follows_the_ok_is_compressed_even_in_the_same_segment() {
    let dialogue = format!("{HELLO}\nC: h1 COMPRESS DEFLATE");
    let server = play_with(&dialogue, |stream| {
        let mut peer = peer(stream);
        let exists = peer.packed("* 23 EXISTS\r\n");
        peer.send(&[b"* 22 EXISTS\r\nh1 OK now\r\n", exists.as_slice()].concat());
        assert_eq!(peer.line(), "h2 NOOP\r\n");
        // More than is unpacked at once, cut in the middle.
        let text = "Highwater ".repeat(50_000);
        let fetch =
            format!("* 1 FETCH (UID 5 BODY[] {{{}}}\r\n{text})\r\nh2 OK done\r\n", text.len());
        let packed = peer.packed(&fetch);
        let (first, second) = packed.split_at(packed.len() / 2);
        peer.send(first);
        peer.send(second);
        assert_eq!(peer.line(), "h3 CHECK\r\n");
        let packed = peer.packed("h3 OK done\r\n");
        peer.send(&packed);
        // What is no DEFLATE: a block of the reserved type.
        assert_eq!(peer.line(), "h4 NOOP\r\n");
        peer.send(&[0xff; 16]);
    });
    let opened = Connection::open(server.place(), &Credentials::None, &options()).await;
    let mut connection = opened.expect("a connection");
    connection.compress().await.expect("compression");
    connection.compress().await.expect("no second one");
    let answer = connection.run(CommandBody::Noop).await.expect("an answer");
    assert_eq!(answer.untagged.len(), 2, "EXISTS and FETCH");
    let fetched = answer.fetched().next().expect("a message");
    assert_eq!(fetched.uid.value(), 5);
    connection.run(CommandBody::Check).await.expect("an answer");
    let broken = connection.run(CommandBody::Noop).await;
    assert!(matches!(broken, Err(Error::Protocol(_))), "{broken:?}");
    server.end();
}

#[tokio::test]
async fn a_refused_compression_leaves_the_connection_as_it_was() {
    let server = play(&format!(
        "{HELLO}
         C: h1 COMPRESS DEFLATE
         S: h1 NO [COMPRESSIONACTIVE] TLS does
         C: h2 NOOP
         S: h2 OK done"
    ));
    let opened = Connection::open(server.place(), &Credentials::None, &options()).await;
    let mut connection = opened.expect("a connection");
    let refused = connection.compress().await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    connection.run(CommandBody::Noop).await.expect("an answer");
    server.end();
}

#[tokio::test]
async fn notify_tells_how_mailboxes_stand_and_idle_what_happens_there() {
    let server = play(&format!(
        "{HELLO}
         C: h1 NOTIFY SET STATUS (selected (MessageNew MessageExpunge FlagChange)) (mailboxes (Jobs &ANw-ber) (MessageNew MessageExpunge FlagChange))
         S: * STATUS Jobs (UIDNEXT 4 MESSAGES 3 HIGHESTMODSEQ 9)
         S: * STATUS &ANw-ber (UIDNEXT 1 MESSAGES 0 APPENDLIMIT NIL)
         S: h1 OK done
         C: h2 IDLE
         S: + idling
         S: * STATUS Jobs (UIDNEXT 5 MESSAGES 4)
         C: DONE
         S: h2 OK done
         C: h3 NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))
         S: h3 NO [BADEVENT (MessageNew)] no"
    ));
    let opened = Connection::open(server.place(), &Credentials::None, &options()).await;
    let mut connection = opened.expect("a connection");
    let answer = connection.notify(&["Jobs", "Über"]).await.expect("an answer");
    let told: Vec<_> =
        answer.statuses().map(|(name, items)| (name.0.as_str(), items.len())).collect();
    assert_eq!(told, [("Jobs", 3), ("Über", 2)]);
    let answer = connection.idle(Duration::from_secs(20)).await.expect("an answer");
    let (name, items) = answer.statuses().next().expect("STATUS");
    assert_eq!((name.0.as_str(), items[0]), ("Jobs", (StatusItem::UidNext, 5)));
    assert!(matches!(connection.notify(&[]).await, Err(Error::Refused(_))));
    server.end();
}

#[tokio::test]
async fn an_idle_that_was_dropped_is_ended_and_nothing_it_heard_is_lost() {
    // [C-30]
    let server = play(&format!(
        "{HELLO}
         C: h1 IDLE
         S: + idling
         S: * 4 EXPUNGE
         C: DONE
         C: h2 NOOP
         S: * 5 EXISTS
         S: h1 OK done
         S: * 6 EXISTS
         S: h2 OK done
         C: h3 IDLE
         S: + idling
         C: DONE
         S: h3 OK done"
    ));
    let opened = Connection::open(server.place(), &Credentials::None, &options()).await;
    let mut connection = opened.expect("a connection");
    {
        let mut idle = std::pin::pin!(connection.idle(Duration::from_secs(20)));
        let once = std::future::poll_fn(|context| Poll::Ready(idle.as_mut().poll(context)));
        assert!(once.await.is_pending());
    }
    let answer = connection.run(CommandBody::Noop).await.expect("an answer");
    assert_eq!(answer.untagged.len(), 3, "{:?}", answer.untagged);
    assert!(matches!(answer.untagged[0], Response::Expunge(_)));
    let told = connection.idle_until(std::future::ready(())).await.expect("an answer");
    assert!(told.untagged.is_empty());
    server.end();
}
