//! A second observer: the client library's mirror, which shares nothing with the oracle but the RFC.
//!
//! It only reads, and has dice of its own, so that what the other clients do does not depend on it.

use crate::client::{Line, Running};
use crate::world::Dice;
use ::client::imap::command::{CommandBody, Secret};
use ::client::imap::number::Uid;
use ::client::mirror::{Abilities, Checkpoint, MessageState, Mirror, Step, Way};
use ::client::{Conversation, Ticket};
use session::{Next, Session};
use std::collections::BTreeMap;

/// What a watcher has on its disk: a state, and the checkpoint that was committed with it.
type Disk = (Checkpoint, BTreeMap<Uid, MessageState>);

pub(crate) struct Watcher {
    abilities: Abilities,
    mirror: Mirror,
    disk: Option<Disk>,
    conversation: Conversation,
    /// What was sent, and what comes next once it is answered; nothing before the login.
    asked: Option<Ticket>,
    step: Option<Step>,
    pub(crate) line: Line,
}

impl Watcher {
    pub(crate) fn new(qresync: bool, condstore: bool) -> Self {
        let mut abilities = Abilities::default();
        (abilities.qresync, abilities.condstore) = (qresync, condstore);
        Self {
            abilities,
            mirror: Mirror::new("INBOX"),
            disk: None,
            conversation: Conversation::default(),
            asked: None,
            step: None,
            line: Line::Down,
        }
    }

    /// The connection is gone; half of the time the program is, too, and what it has is on its disk.
    pub(crate) fn drop_line(&mut self, dice: &mut Dice) {
        self.line = Line::Down;
        if dice.one_in(2) {
            self.mirror = match self.disk.clone() {
                Some((checkpoint, messages)) => Mirror::resume("INBOX", checkpoint, messages),
                None => Mirror::new("INBOX"),
            };
            // What the delta would have told is what the disk lacks: both begin from it.
        }
    }

    pub(crate) fn connect(&mut self, session: Session) {
        self.conversation = Conversation::default();
        self.conversation.receive(b"* OK hello\r\n").unwrap();
        (self.asked, self.step) = (None, None);
        self.line = Line::Waiting(Box::new(session));
    }

    /// The octets to send now.
    fn speak(&mut self) -> Vec<u8> {
        let body = match self.step.take() {
            Some(Step::Ask(body)) => body,
            Some(Step::Level(_) | Step::Stuck(_)) => CommandBody::Noop,
            None => {
                let password = Secret(b"secret".to_vec());
                CommandBody::Login { user: b"alex".to_vec(), password }
            }
        };
        let first = matches!(body, CommandBody::Login { .. });
        self.asked = Some(self.conversation.submit(body).unwrap());
        if first {
            self.step = None;
        }
        self.conversation.take_output()
    }

    /// Sends; answers what is under way then.
    pub(crate) fn send(&mut self, session: Session) -> (String, Running) {
        let octets = self.speak();
        let shown = String::from_utf8_lossy(&octets).into_owned();
        let mut session = session;
        let running = Box::pin(async move {
            let mut out = Vec::new();
            let next = session.receive(&octets, &mut out).await.unwrap_or(Next::Close);
            (session, out, next)
        });
        (shown, running)
    }

    /// Takes what the server said to the command.
    pub(crate) fn hear(&mut self, text: &str) -> Result<(), String> {
        let heard = self.conversation.receive(text.as_bytes());
        heard.map_err(|error| format!("{error} in {text:?}"))?;
        let answer = self.asked.take().and_then(|ticket| self.conversation.take_answer(ticket));
        let answer = answer.ok_or_else(|| format!("no answer in {text:?}"))?;
        let login = answer.text.starts_with("Welcome");
        let step =
            if login { self.mirror.begin(self.abilities) } else { self.mirror.take(&answer) };
        match step {
            Step::Stuck(why) => return Err(format!("the mirror is stuck: {why}")),
            Step::Level(delta) => self.apply(delta)?,
            Step::Ask(body) => self.step = Some(Step::Ask(body)),
        }
        Ok(())
    }

    /// Writes the delta to the disk, as a program would, and commits it then.
    fn apply(&mut self, delta: ::client::mirror::Delta) -> Result<(), String> {
        let mut messages = self.disk.take().map(|(_, messages)| messages).unwrap_or_default();
        if delta.anew {
            messages.clear();
        }
        messages.retain(|uid, _| !delta.gone.contains(uid.value()));
        messages.extend(delta.changed.clone());
        let there: BTreeMap<Uid, MessageState> =
            self.mirror.messages().map(|(uid, state)| (uid, state.clone())).collect();
        if messages != there {
            return Err("the deltas do not add up to what the mirror has".into());
        }
        self.step = Some(Step::Level(delta.clone()));
        self.disk = Some((delta.commit(), messages));
        Ok(())
    }

    pub(crate) fn is_level(&self) -> bool {
        matches!(self.step, Some(Step::Level(_))) && matches!(self.line, Line::Waiting(_))
    }

    /// UIDs and flags, sorted.
    pub(crate) fn shown(&self) -> Vec<(u64, Vec<String>)> {
        let row = |(uid, state): (Uid, &MessageState)| {
            let mut flags = state.flags.clone();
            flags.sort();
            (u64::from(uid.value()), flags)
        };
        self.mirror.messages().map(row).collect()
    }

    /// With QRESYNC the mirror has no reason to take a slower way.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let reasons = self.mirror.reasons();
        let qresync = self.mirror.way() == Way::QResync;
        (qresync && !reasons.is_empty()).then(|| format!("it fell back: {reasons:?}"))
    }
}
