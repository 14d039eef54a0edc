//! A client of the simulation: what it sends, when it drops, how it comes back.

use crate::oracle::{Kept, Oracle};
use crate::world::Dice;
use session::{Next, Session};
use std::future::Future;
use std::pin::Pin;

/// How a client catches up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    QResync,
    CondStore,
}

type Answer = (Session, Vec<u8>, Next);
pub(crate) type Running = Pin<Box<dyn Future<Output = Answer>>>;

/// Where the connection stands.
pub(crate) enum Line {
    Down,
    Waiting(Box<Session>),
    Running(Running),
}

/// What the client does next by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Log in and select.
    Begin,
    /// CONDSTORE only: ask for changed flags, then for which messages are left.
    Flags,
    Left,
    /// Fetch what is new.
    New,
    /// In sync: work.
    Work,
}

pub(crate) struct Client {
    pub(crate) kind: Kind,
    pub(crate) kept: Kept,
    pub(crate) oracle: Oracle,
    pub(crate) line: Line,
    pub(crate) stage: Stage,
    /// The tag that ends what was sent.
    pub(crate) waits_for: String,
    pub(crate) tags: u64,
    pub(crate) idling: bool,
}

impl Client {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            kept: Kept::default(),
            oracle: Oracle::default(),
            line: Line::Down,
            stage: Stage::Begin,
            waits_for: String::new(),
            tags: 0,
            idling: false,
        }
    }

    /// The connection is gone; what was kept at the last tagged response is all there is.
    pub(crate) fn drop_line(&mut self) {
        self.line = Line::Down;
        self.stage = Stage::Begin;
        self.idling = false;
    }

    pub(crate) fn connect(&mut self, session: Session) {
        self.oracle = Oracle::connect(&self.kept);
        self.line = Line::Waiting(Box::new(session));
        self.stage = Stage::Begin;
        self.idling = false;
    }

    fn tag(&mut self) -> String {
        self.tags += 1;
        self.waits_for = format!("t{}", self.tags);
        self.waits_for.clone()
    }

    /// The octets to send now, following the stage.
    pub(crate) fn speak(&mut self, dice: &mut Dice) -> String {
        if self.idling {
            self.idling = false;
            return "DONE\r\n".into();
        }
        let tag = self.tag();
        match self.stage {
            Stage::Begin => self.begin(&tag),
            Stage::Flags => {
                let (next, since) = (self.oracle.next_uid(), self.oracle.kept.mod_seq);
                format!(
                    "{tag} UID FETCH 1:{} (FLAGS) (CHANGEDSINCE {since})\r\n",
                    (next - 1).max(1)
                )
            }
            Stage::Left => {
                self.oracle.searches_all = true;
                format!("{tag} UID SEARCH ALL\r\n")
            }
            Stage::New => format!("{tag} UID FETCH {}:* (FLAGS)\r\n", self.oracle.next_uid()),
            Stage::Work => self.work(&tag, dice),
        }
    }

    fn begin(&mut self, tag: &str) -> String {
        let Kept { uid_validity, mod_seq, .. } = self.oracle.kept;
        let (enable, parameter) = match self.kind {
            Kind::QResync if mod_seq > 0 => {
                ("QRESYNC", format!("QRESYNC ({uid_validity} {mod_seq})"))
            }
            Kind::QResync => ("QRESYNC", "CONDSTORE".into()),
            Kind::CondStore => ("CONDSTORE", "CONDSTORE".into()),
        };
        format!("l LOGIN alex secret\r\ne ENABLE {enable}\r\n{tag} SELECT INBOX ({parameter})\r\n")
    }

    fn work(&mut self, tag: &str, dice: &mut Dice) -> String {
        let count = self.oracle.numbers.len() as u64;
        let flag = ["\\Seen", "\\Flagged", "\\Deleted", "$a", "$b", "$c"][dice.below(6) as usize];
        let sign = ["+", "-", ""][dice.below(3) as usize];
        let silent = ["", ".SILENT"][dice.below(2) as usize];
        let condition = match dice.below(3) {
            0 => format!(" (UNCHANGEDSINCE {})", self.oracle.kept.mod_seq),
            _ => String::new(),
        };
        let number = 1 + dice.below(count.max(1));
        let to = number + dice.below(4);
        let uid = dice.below(self.oracle.next_uid()) + 1;
        let kind = dice.below(16);
        let stores = kind < 5 && (kind > 1 || count > 0);
        self.oracle.silent = (stores && !silent.is_empty()).then_some((sign, flag));
        match kind {
            0 | 1 if count > 0 => {
                let to = to.min(count);
                format!("{tag} STORE {number}:{to}{condition} {sign}FLAGS{silent} ({flag})\r\n")
            }
            2..=4 => format!(
                "{tag} UID STORE {uid}:{}{condition} {sign}FLAGS{silent} ({flag})\r\n",
                uid + 3
            ),
            5 => format!("{tag} EXPUNGE\r\n"),
            6 => format!("{tag} UID EXPUNGE {uid}:{}\r\n", uid + 5),
            7 => format!("{tag} APPEND INBOX ({flag}) {{8+}}\r\nA: b\r\n\r\n\r\n"),
            8 => format!("{tag} UID MOVE {uid} INBOX\r\n"),
            9 if count > 0 => format!("{tag} FETCH {number} (FLAGS UID MODSEQ)\r\n"),
            10 if count > 0 => format!("{tag} FETCH {number} (BODY[HEADER])\r\n"),
            11 => format!("{tag} UID SEARCH KEYWORD {}\r\n", flag.trim_start_matches('\\')),
            12 => {
                self.idling = true;
                format!("{tag} IDLE\r\n")
            }
            13 => format!("{tag} UID COPY {uid}:{} INBOX\r\n", uid + 1),
            _ => format!("{tag} NOOP\r\n"),
        }
    }

    /// A tagged response has come: keep what is known, and go on.
    pub(crate) fn answered(&mut self) -> Result<(), String> {
        match self.stage {
            Stage::Begin => {
                let fresh = self.oracle.kept.mod_seq == 0;
                self.stage = match self.kind {
                    _ if fresh => Stage::New,
                    Kind::QResync => {
                        self.oracle.number_known()?;
                        self.oracle.complete();
                        Stage::New
                    }
                    Kind::CondStore => Stage::Flags,
                };
            }
            Stage::Flags => self.stage = Stage::Left,
            Stage::Left => {
                let left = self.oracle.searched.take().unwrap_or_default();
                self.oracle.kept.messages.retain(|uid, _| left.contains(uid));
                self.oracle.complete();
                self.stage = Stage::New;
            }
            Stage::New => {
                self.oracle.fetched_new();
                if !self.oracle.synced {
                    self.oracle.complete();
                }
                self.stage = Stage::Work;
            }
            Stage::Work => {}
        }
        if self.stage == Stage::Work && self.oracle.numbers.contains(&0) {
            self.stage = Stage::New;
        }
        if self.oracle.synced {
            self.kept = self.oracle.kept.clone();
        }
        Ok(())
    }
}
