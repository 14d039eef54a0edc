//! One session in this process that benchmarks speak to.

#[path = "../../tests/runner/play.rs"]
mod runner;

use runner::here::Server;
use session::Session;

/// A session and what it answered last.
pub(crate) struct Speaker {
    server: Server,
    session: Session,
    out: Vec<u8>,
}

impl Speaker {
    /// Logged in, to an empty account.
    pub(crate) fn new() -> Self {
        let server = Server::new(Vec::new());
        let session = server.session();
        let mut speaker = Self { server, session, out: Vec::new() };
        speaker.say("a LOGIN alex secret\r\n");
        speaker
    }

    /// Has a command carried out; answers how many octets the answer has.
    pub(crate) fn receive(&mut self, command: &str) -> usize {
        self.out.clear();
        self.server.drive(self.session.receive(command.as_bytes(), &mut self.out)).unwrap();
        self.out.len()
    }

    /// The answer to a command, which must be carried out.
    pub(crate) fn say(&mut self, command: &str) -> String {
        self.receive(command);
        let answer = String::from_utf8_lossy(&self.out).into_owned();
        let told = answer.lines().any(|line| line.starts_with("a OK"));
        assert!(told, "{}: {answer}", command.lines().next().unwrap_or_default());
        answer
    }

    /// How many lines of the answer hold these words.
    pub(crate) fn count(&mut self, command: &str, words: &str) -> usize {
        self.say(command).lines().filter(|line| line.contains(words)).count()
    }
}
