//! Messages that pass through in pieces, both ways: what is held, and what is made of those that are cut off.

use crate::script::{options, play, play_with};
use client::imap::command::{AppendHead, CommandBody};
use client::imap::flag::{Flag, SystemFlag};
use client::imap::number::Uid;
use client::{Connection, Conversation, Credentials, Error, whole_message};
use std::io::{BufRead as _, BufReader, Read, Write, pipe};
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const SEEN: [Flag; 1] = [Flag::System(SystemFlag::Seen)];
const HUGE: u64 = 100 * 1024 * 1024;
/// What is read or written at once, and a little for the lines around it.
const HELD_MAX: usize = 64 * 1024 + 256;

fn octet(at: u64) -> u8 {
    (at % 251) as u8
}

/// A message that nobody holds: read from, or compared with what is written.
#[derive(Default)]
struct Pattern {
    at: u64,
    end: u64,
    wrong: bool,
    breaks_at: Option<u64>,
}

impl Pattern {
    fn of(end: u64) -> Self {
        Self { end, ..Self::default() }
    }

    fn broken(&self) -> std::io::Result<()> {
        let broken = self.breaks_at.is_some_and(|at| self.at >= at);
        if broken { Err(std::io::Error::other("the disk is full")) } else { Ok(()) }
    }

    fn compare(&mut self, octets: &[u8]) {
        for here in octets {
            self.wrong |= *here != octet(self.at);
            self.at += 1;
        }
    }
}

impl Write for Pattern {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.compare(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        for slot in buffer.iter_mut().take(count) {
            *slot = octet(self.at);
            self.at += 1;
        }
        Ok(count)
    }
}

impl AsyncRead for Pattern {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let count = self.read(buffer.initialize_unfilled())?;
        buffer.advance(count);
        Poll::Ready(self.broken())
    }
}

impl AsyncWrite for Pattern {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.compare(octets);
        Poll::Ready(self.broken().map(|()| octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn uid(uid: u32) -> Uid {
    Uid::new(uid).expect("a UID")
}

fn head() -> AppendHead {
    AppendHead { first: None, flags: SEEN.to_vec(), internal_date: None }
}

fn greeted(capabilities: &str) -> Conversation {
    let mut conversation = Conversation::default();
    let hello = format!("* OK [CAPABILITY IMAP4rev1 {capabilities}] hello\r\n");
    conversation.receive(hello.as_bytes()).expect("a greeting");
    conversation
}

async fn open(server: &crate::script::Played) -> Connection {
    let opened = Connection::open(server.place(), &Credentials::None, &options()).await;
    opened.expect("a connection")
}

#[test]
fn a_hundred_megabytes_are_fetched_through_a_pipe_and_64_kilobytes_held() {
    let mut conversation = greeted("");
    let ticket = conversation.submit_body(uid(7), whole_message()).expect("a command");
    assert_eq!(conversation.take_output(), b"h1 UID FETCH 7 (UID BODY.PEEK[])\r\n");
    let (mut from, mut to) = pipe().expect("a pipe");
    let server = std::thread::spawn(move || {
        write!(to, "* 2 EXISTS\r\n* 1 FETCH (UID 7 BODY[] {{{HUGE}}}\r\n").expect("a reader");
        std::io::copy(&mut Pattern::of(HUGE), &mut to).expect("a reader");
        to.write_all(b" FLAGS ())\r\nh1 OK done\r\n").expect("a reader");
    });
    let (mut message, mut held, mut buffer) = (Pattern::default(), 0, vec![0; 64 * 1024]);
    let answer = loop {
        if let Some(answer) = conversation.take_answer(ticket) {
            break answer;
        }
        let count = from.read(&mut buffer).expect("octets");
        conversation.receive(&buffer[..count]).expect("IMAP");
        held = held.max(conversation.held_bytes());
        while let Some(octets) = conversation.take_body(ticket) {
            message.compare(&octets);
        }
    };
    assert_eq!((message.at, message.wrong), (HUGE, false));
    assert_eq!(conversation.end_body(ticket), Some(HUGE));
    assert!((1..=HELD_MAX).contains(&held), "{held}");
    assert_eq!(answer.untagged.len(), 2, "EXISTS and FETCH");
    let fetched = answer.fetched().next().expect("FETCH");
    assert_eq!((fetched.items.len(), fetched.flags), (2, Some(vec![])), "UID and FLAGS");
    assert!(conversation.is_idle());
    server.join().expect("all written");
}

#[test]
fn a_hundred_megabytes_are_appended_through_a_pipe_and_64_kilobytes_held() {
    let mut conversation = greeted("LITERAL+");
    let ticket = conversation.submit_append_of("INBOX", &head(), HUGE).expect("a command");
    let (from, mut to) = pipe().expect("a pipe");
    let server = std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = String::new();
        from.read_line(&mut line).expect("a line");
        assert_eq!(line, format!("h1 APPEND INBOX (\\Seen) {{{HUGE}+}}\r\n"));
        let (mut message, mut buffer) = (Pattern::default(), vec![0; 64 * 1024]);
        while message.at < HUGE {
            let room = (HUGE - message.at).min(64 * 1024) as usize;
            let count = from.read(&mut buffer[..room]).expect("octets");
            message.compare(&buffer[..count]);
        }
        let mut rest = String::new();
        from.read_to_string(&mut rest).expect("the end");
        assert_eq!((message.wrong, rest.as_str()), (false, "\r\nh2 NOOP\r\n"));
    });
    let (mut message, mut held, mut buffer) = (Pattern::of(HUGE), 0, vec![0; 64 * 1024]);
    let noop = conversation.submit(CommandBody::Noop).expect("a command");
    loop {
        to.write_all(&conversation.take_output()).expect("a reader");
        let Some(left) = conversation.wants(ticket) else { break };
        assert_eq!(left, HUGE - message.at);
        let count = message.read(&mut buffer).expect("octets");
        conversation.supply(ticket, &buffer[..count]).expect("wanted");
        held = held.max(conversation.held_bytes());
    }
    assert!((1..=HELD_MAX).contains(&held), "{held}");
    drop(to);
    server.join().expect("as written");
    conversation.receive(b"h1 OK done\r\nh2 OK done\r\n").expect("IMAP");
    assert!(conversation.take_answer(ticket).is_some() && conversation.take_answer(noop).is_some());
}

#[test]
fn no_more_is_taken_than_was_announced_and_no_ok_before_the_end() {
    let mut conversation = greeted("LITERAL+");
    let ticket = conversation.submit_append_of("INBOX", &head(), 5).expect("a command");
    assert_eq!(conversation.wants(ticket), None, "the head comes first");
    assert_eq!(conversation.take_output(), b"h1 APPEND INBOX (\\Seen) {5+}\r\n");
    assert!(matches!(conversation.supply(ticket, b"123456"), Err(Error::Encode(_))));
    conversation.supply(ticket, b"123").expect("wanted");
    assert_eq!(
        (conversation.take_output(), conversation.wants(ticket)),
        (b"123".to_vec(), Some(2))
    );
    assert!(matches!(conversation.receive(b"h1 OK done\r\n"), Err(Error::Protocol(_))));
    // What has nothing in it is supplied without being asked.
    let mut conversation = greeted("");
    let ticket = conversation.submit_append_of("INBOX", &head(), 0).expect("a command");
    assert_eq!(conversation.take_output(), b"h1 APPEND INBOX (\\Seen) {0}\r\n");
    conversation.receive(b"+ go\r\n").expect("IMAP");
    assert_eq!((conversation.wants(ticket), conversation.take_output()), (None, b"\r\n".to_vec()));
}

/// A server that takes an APPEND of so many octets with this announcement, and answers; `asked` by `+` first.
fn appended(capability: &str, size: u64, mark: &str, asked: bool) -> crate::script::Played {
    let hello = format!(
        "S: * OK [CAPABILITY IMAP4rev1 {capability}] hello
         C: h1 APPEND INBOX (\\Seen) {{{size}{mark}}}"
    );
    play_with(&hello, move |mut stream| {
        if asked {
            stream.get_mut().write_all(b"+ go\r\n").expect("the client listens");
        }
        assert!(whole(&mut stream, size));
        let answer = b"h1 OK [APPENDUID 9 7] done\r\n";
        stream.get_mut().write_all(answer).expect("the client listens");
    })
}

/// Reads a message of the pattern and the line's end.
fn whole(stream: &mut BufReader<TcpStream>, size: u64) -> bool {
    let mut message = Pattern::default();
    std::io::copy(&mut stream.by_ref().take(size), &mut message).expect("octets");
    let mut end = [0; 2];
    stream.read_exact(&mut end).expect("a line's end");
    !message.wrong && message.at == size && end == *b"\r\n"
}

#[tokio::test]
async fn the_literal_is_of_the_kind_that_the_server_takes() {
    for (capability, size, mark, asked) in [
        ("IDLE", 3_000_000, "", true),
        ("LITERAL+", 3_000_000, "+", false),
        ("LITERAL-", 4096, "+", false),
        ("LITERAL-", 4097, "", true),
    ] {
        let server = appended(capability, size, mark, asked);
        let mut connection = open(&server).await;
        let mut message = Pattern::of(size + 5);
        let answer = connection.append_from("INBOX", &SEEN, None, size, &mut message).await;
        let (_, uids) = answer.expect("an answer").append_uid().expect("APPENDUID");
        assert!(uids.contains(7));
        assert_eq!(message.at, size, "no more than that is read");
        server.end();
    }
}

#[tokio::test]
async fn a_refusal_is_told_and_the_connection_goes_on() {
    // Before anything of the message was sent: nothing of it is read.
    let server = play(
        "S: * OK [CAPABILITY IMAP4rev1] hello
         C: h1 APPEND INBOX (\\Seen) {1000000}
         S: h1 NO [OVERQUOTA] full
         C: h2 NOOP
         S: h2 OK done",
    );
    let mut connection = open(&server).await;
    let mut message = Pattern::of(1_000_000);
    let refused = connection.append_from("INBOX", &SEEN, None, 1_000_000, &mut message).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    assert_eq!(message.at, 0);
    connection.run(CommandBody::Noop).await.expect("an answer");
    server.end();
    // Behind LITERAL+ the server reads on to the end.
    let hello = "S: * OK [CAPABILITY IMAP4rev1 LITERAL+] hello
         C: h1 APPEND INBOX (\\Seen) {1000000+}
         S: h1 NO [TOOBIG] too big";
    let server = play_with(hello, |mut stream| {
        assert!(whole(&mut stream, 1_000_000));
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line");
        assert_eq!(line, "h2 NOOP\r\n");
        stream.get_mut().write_all(b"h2 OK done\r\n").expect("the client listens");
    });
    let mut connection = open(&server).await;
    let mut message = Pattern::of(1_000_000);
    let refused = connection.append_from("INBOX", &SEEN, None, 1_000_000, &mut message).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    connection.run(CommandBody::Noop).await.expect("an answer");
    server.end();
}

#[tokio::test]
async fn an_append_that_was_cut_off_says_how_far_it_got_and_ends_the_connection() {
    let hello = "S: * OK [CAPABILITY IMAP4rev1 LITERAL+] hello
         C: h1 APPEND INBOX (\\Seen) {1000000+}";
    let short = || Pattern::of(1000);
    let broken = || Pattern { breaks_at: Some(1), ..Pattern::of(1_000_000) };
    for (mut message, done, why) in [(short(), 1000, "ended before"), (broken(), 0, "disk is full")]
    {
        let server = play_with(hello, move |mut stream| {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).expect("the end");
            assert_eq!(rest.len() as u64, done, "nothing else gets into the literal");
        });
        let mut connection = open(&server).await;
        let cut = connection.append_from("INBOX", &SEEN, None, 1_000_000, &mut message).await;
        let Err(error) = cut else { panic!("{cut:?}") };
        assert!(
            matches!(&error, Error::CutOff { appending: true, progress, .. } if progress.done == done)
        );
        assert!(error.is_fatal() && error.to_string().contains(why), "{error}");
        assert!(error.to_string().contains("not added"), "{error}");
        let next = connection.run(CommandBody::Noop).await;
        assert!(
            matches!(next, Err(Error::Unfinished(left)) if left == 1_000_000 - done),
            "{next:?}"
        );
        connection.close().await;
        server.end();
    }
    // The server goes away in the middle.
    let server = play_with(hello, |mut stream| {
        stream.read_exact(&mut [0; 1000]).expect("octets");
        stream.get_mut().write_all(b"* BYE out of memory\r\n").expect("the client listens");
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut connection = open(&server).await;
    let mut message = Pattern::of(1_000_000);
    let cut = connection.append_from("INBOX", &SEEN, None, 1_000_000, &mut message).await;
    // By then the system may have taken all of it.
    let Err(error) = cut else { panic!("{cut:?}") };
    assert!(error.is_fatal() && error.to_string().contains("out of memory"), "{error}");
    drop(connection);
    server.end();
}

#[tokio::test]
async fn an_append_that_was_dropped_lets_nothing_else_into_its_literal() {
    let server = play_with("S: * OK [CAPABILITY IMAP4rev1] hello", |mut stream| {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("the end");
        assert_eq!(rest, "h1 APPEND INBOX (\\Seen) {5}\r\n");
    });
    let mut connection = open(&server).await;
    let mut message = Pattern::of(5);
    {
        let append = connection.append_from("INBOX", &SEEN, None, 5, &mut message);
        let mut append = std::pin::pin!(append);
        // Once: the head is sent, and nothing has come.
        let once = std::future::poll_fn(|context| Poll::Ready(append.as_mut().poll(context)));
        assert!(once.await.is_pending());
    }
    let next = connection.run(CommandBody::Noop).await;
    assert!(matches!(next, Err(Error::Unfinished(5))), "{next:?}");
    drop(connection);
    server.end();
}

#[tokio::test]
async fn a_body_comes_whole_in_whatever_form_or_not_at_all() {
    let server = play(
        "S: * OK [CAPABILITY IMAP4rev1] hello
         C: h1 UID FETCH 7 (UID BODY.PEEK[])
         S: * 3 FETCH (FLAGS (\\Seen))
         S: * 2 FETCH (BODY[] {3}
         S: abc UID 7)
         S: h1 OK done
         C: h2 UID FETCH 7 (UID BODY.PEEK[])
         S: * 2 FETCH (UID 7 BODY[] \"abc\")
         S: h2 OK done
         C: h3 UID FETCH 7 (UID BODY.PEEK[])
         S: * 2 FETCH (UID 7 BODY[] NIL)
         S: h3 OK done
         C: h4 UID FETCH 8 (UID BODY.PEEK[])
         S: h4 OK done
         C: h5 UID FETCH 8 (UID BODY.PEEK[])
         S: h5 NO [SERVERBUG] no
         C: h6 UID FETCH 8 (UID BODY.PEEK[])
         S: * 2 FETCH (UID 7 BODY[] {3}
         S: abc)
         S: h6 OK done",
    );
    let mut connection = open(&server).await;
    for (n, expected) in [(7, "abc"), (7, "abc"), (7, ""), (8, "")] {
        let mut sink = Vec::new();
        let told = connection.fetch_body_to(uid(n), whole_message(), &mut sink).await;
        let size = (!expected.is_empty()).then_some(expected.len() as u64);
        assert_eq!((told.expect("an answer"), &*sink), (size, expected.as_bytes()));
    }
    let mut sink = Vec::new();
    let refused = connection.fetch_body_to(uid(8), whole_message(), &mut sink).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    let wrong = connection.fetch_body_to(uid(8), whole_message(), &mut sink).await;
    let Err(error) = wrong else { panic!("{wrong:?}") };
    assert!(error.is_fatal() && error.to_string().contains("another message"), "{error}");
    server.end();
}

#[tokio::test]
async fn a_body_that_was_cut_off_is_an_error_and_one_nobody_takes_is_passed_over() {
    let hello = "S: * OK [CAPABILITY IMAP4rev1] hello
         C: h1 UID FETCH 7 (UID BODY.PEEK[])
         S: * 2 FETCH (UID 7 BODY[] {3000000}";
    let server = play_with(hello, |mut stream| {
        let half = &mut Pattern::of(1_500_000);
        std::io::copy(half, stream.get_mut()).expect("the client listens");
    });
    let mut connection = open(&server).await;
    let mut sink = Pattern::default();
    let cut = connection.fetch_body_to(uid(7), whole_message(), &mut sink).await;
    let Err(error) = cut else { panic!("{cut:?}") };
    assert!(error.is_fatal() && error.to_string().contains("1500000 of 3000000"), "{error}");
    server.end();

    let server = play_with(hello, |mut stream| {
        let all = &mut Pattern::of(3_000_000);
        std::io::copy(all, stream.get_mut()).expect("the client listens");
        stream.get_mut().write_all(b")\r\nh1 OK done\r\n").expect("the client listens");
        let mut line = String::new();
        stream.read_line(&mut line).expect("a line");
        assert_eq!(line, "h2 NOOP\r\n");
        stream.get_mut().write_all(b"h2 OK done\r\n").expect("the client listens");
    });
    let mut connection = open(&server).await;
    let mut sink = Pattern { breaks_at: Some(100_000), ..Pattern::default() };
    let cut = connection.fetch_body_to(uid(7), whole_message(), &mut sink).await;
    let Err(error) = cut else { panic!("{cut:?}") };
    assert!(!error.is_fatal() && error.to_string().contains("disk is full"), "{error}");
    let answer = connection.run(CommandBody::Noop).await.expect("an answer");
    assert!(answer.untagged.is_empty());
    server.end();
}
