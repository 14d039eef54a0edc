//! A server that is played from a text: `C:` is what the client must say, `S:` what the server says.

use client::{Options, Place};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

/// A test that hangs fails after this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A played server.
pub(crate) struct Played {
    place: Place,
    thread: JoinHandle<()>,
}

/// Plays the dialogue to the first who connects. A `*` at the end of a `C:` line stands for anything.
pub(crate) fn play(dialogue: &str) -> Played {
    play_with(dialogue, |_| {})
}

/// Likewise, and hands the connection on when the dialogue is over.
pub(crate) fn play_with(
    dialogue: &str,
    after: impl FnOnce(BufReader<TcpStream>) + Send + 'static,
) -> Played {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let place = format!("imap://127.0.0.1:{port}/").parse().expect("a place");
    let dialogue = dialogue.to_owned();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let mut stream = BufReader::new(stream);
        for line in dialogue.lines().map(str::trim).filter(|line| !line.is_empty()) {
            turn(&mut stream, line);
        }
        after(stream);
    });
    Played { place, thread }
}

fn turn(stream: &mut BufReader<TcpStream>, line: &str) {
    if let Some(said) = line.strip_prefix("S: ") {
        let sent = stream.get_mut().write_all(format!("{said}\r\n").as_bytes());
        return sent.expect("the client listens");
    }
    let expected = line.strip_prefix("C:").map(str::trim_start);
    let expected = expected.unwrap_or_else(|| panic!("neither C: nor S: {line}"));
    let mut said = String::new();
    stream.read_line(&mut said).expect("a line");
    let said = said.trim_end_matches(['\r', '\n']);
    match expected.strip_suffix('*') {
        Some(start) if !start.is_empty() => {
            assert!(said.starts_with(start), "{said:?}, not {line}")
        }
        _ => assert_eq!(said, expected),
    }
}

impl Played {
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Waits until everything was said as written.
    pub(crate) fn end(self) {
        assert!(self.thread.join().is_ok(), "the client said something else");
    }
}

/// Without TLS, as all this is on one machine.
pub(crate) fn options() -> Options {
    Options::new(None).with_patience(PATIENCE)
}
