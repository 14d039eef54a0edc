//! Playing a dialogue.

use super::block::segments;
use super::names::{Names, named};
use super::pattern::{Bound, Rules};
use super::script::{Dialogue, Sent, Step, ends_block};
use super::words::{substitute, unescape};
use super::{Failure, LINES_MAX, Measure, Place, Wire, answered, log_in, quoted};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::collections::{HashMap, HashSet};

/// The connection that makes mailboxes and messages.
const FIXTURES: usize = 0;

/// Flags of the five messages.
const FIVE: [&str; 5] = ["", "\\Seen", "\\Deleted", "$Work", ""];

/// Plays one dialogue.
///
/// # Errors
/// When it does not hold: where, what was expected, what came.
pub fn play(
    dialogue: &Dialogue,
    place: &mut dyn Place,
    measure: Measure,
) -> Result<(), Box<Failure>> {
    let (user, password) = place.user();
    let prefix = place.prefix();
    let elsewhere = !prefix.is_empty();
    let plain = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
    let known = [
        ("user", quoted(&user)),
        ("password", quoted(&password)),
        ("plain", plain),
        ("prefix", prefix),
    ];
    let mut stage = Stage {
        place,
        measure,
        text_owed: measure == Measure::Ours || dialogue.ids.iter().any(|id| id == "S-37"),
        parties: HashMap::new(),
        bound: known.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        names: Names::default(),
        made: HashSet::new(),
    };
    if elsewhere {
        for name in named(dialogue).unwrap_or_default() {
            let there = stage.place.mailbox(&name);
            stage.names.add(&name, &there);
        }
    }
    for (line, step) in &dialogue.steps {
        stage.play(step).map_err(|wrong| {
            Box::new(Failure {
                file: dialogue.file.clone(),
                line: *line,
                title: dialogue.title.clone(),
                why: wrong.why,
                fixture: wrong.fixture,
                sent: wrong.sent,
                expected: wrong.expected,
                came: wrong.came,
            })
        })?;
    }
    Ok(())
}

/// What is wrong with a step.
#[derive(Default)]
struct Wrong {
    why: String,
    fixture: bool,
    sent: Vec<String>,
    expected: Vec<String>,
    came: Vec<String>,
}

impl<T: Into<String>> From<T> for Wrong {
    fn from(why: T) -> Self {
        Self { why: why.into(), ..Self::default() }
    }
}

/// A connection and what it did.
struct Party {
    wire: Box<dyn Wire>,
    /// It has enabled QRESYNC.
    qresync: bool,
    /// What it sent last.
    sent: Vec<String>,
}

struct Stage<'a> {
    place: &'a mut dyn Place,
    measure: Measure,
    /// Whether a response code owes a text.
    text_owed: bool,
    parties: HashMap<usize, Party>,
    bound: Bound,
    names: Names,
    /// The mailboxes that the fixtures have made.
    made: HashSet<String>,
}

impl Stage<'_> {
    fn play(&mut self, step: &Step) -> Result<(), Wrong> {
        match step {
            Step::Server { .. } => {}
            Step::Admin { words } => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.place.administer(&words)?;
            }
            Step::Mailbox { name, count } => self.mailbox(name, *count)?,
            Step::Five { name } => {
                self.mailbox(name, 0)?;
                for (n, flags) in FIVE.iter().enumerate() {
                    self.append(&self.names.there(name), flags, "", &message(n + 1))?;
                }
            }
            Step::Message { name, flags, date, text } => {
                let text = text.clone().unwrap_or_else(|| message(0));
                self.append(&self.names.there(name), flags, date, &text)?;
            }
            Step::Connect { connection } => {
                let wire = self.connect()?;
                self.parties.insert(*connection, wire);
            }
            Step::Send { connection, lines } => self.send(*connection, lines)?,
            Step::Expect { connection, lines } => self.expect(*connection, lines)?,
            Step::Assert { left, operator, right } => self.compare(left, operator, right)?,
        }
        Ok(())
    }

    fn compare(&self, left: &str, operator: &str, right: &str) -> Result<(), Wrong> {
        let (left_there, right_there) =
            (substitute(left, &self.bound), substitute(right, &self.bound));
        // What a server need not say cannot be compared.
        let unsaid = left_there.contains('$') || right_there.contains('$');
        if unsaid && self.measure == Measure::Rfc {
            return Ok(());
        }
        let value = |text: &str| -> Result<u64, Wrong> {
            text.parse().map_err(|_| format!("{text} is no number").into())
        };
        let (l, r) = (value(&left_there)?, value(&right_there)?);
        let holds = match operator {
            ">" => l > r,
            ">=" => l >= r,
            "<" => l < r,
            "==" => l == r,
            _ => l != r,
        };
        if holds {
            return Ok(());
        }
        Err(format!("{left} {operator} {right} does not hold: {l} {operator} {r}").into())
    }

    fn connect(&mut self) -> Result<Party, Wrong> {
        let mut wire = self.place.connect()?;
        wire.line().ok_or("no greeting")?;
        Ok(Party { wire, qresync: false, sent: Vec::new() })
    }

    /// The connection, logged in when it is new.
    fn party(&mut self, connection: usize) -> Result<&mut Party, Wrong> {
        if !self.parties.contains_key(&connection) {
            let (user, password) = self.place.user();
            let mut party = self.connect()?;
            log_in(&mut *party.wire, &user, &password)?;
            self.parties.insert(connection, party);
        }
        self.parties.get_mut(&connection).ok_or_else(|| "no such connection".into())
    }

    /// A new mailbox with messages that are alike but for their number.
    fn mailbox(&mut self, name: &str, count: usize) -> Result<(), Wrong> {
        let there = self.names.there(name);
        if self.made.insert(name.to_owned()) && there != "INBOX" {
            self.fixture("make", &format!("make CREATE {}\r\n", quoted(&there)))?;
            self.number(&there)?;
        }
        for n in 1..=count {
            self.append(&self.names.there(name), "", "", &message(n))?;
        }
        Ok(())
    }

    /// Lets servers that give no mod-sequences until somebody asks for one give them from now on.
    fn number(&mut self, there: &str) -> Result<(), Wrong> {
        if self.measure == Measure::Rfc {
            let wire = &mut self.party(FIXTURES)?.wire;
            wire.send(format!("number STATUS {} (HIGHESTMODSEQ)\r\n", quoted(there)).as_bytes());
            // Who does not know mod-sequences says so.
            let _ = answered(&mut **wire, "number");
        }
        Ok(())
    }

    fn fixture(&mut self, tag: &str, command: &str) -> Result<(), Wrong> {
        let wire = &mut self.party(FIXTURES)?.wire;
        wire.send(command.as_bytes());
        answered(&mut **wire, tag).map(drop).map_err(|why| Wrong {
            why,
            fixture: true,
            ..Wrong::default()
        })
    }

    fn append(&mut self, name: &str, flags: &str, date: &str, text: &str) -> Result<(), Wrong> {
        let date = if date.is_empty() { String::new() } else { format!("\"{date}\" ") };
        let name = quoted(name);
        let head = format!("add APPEND {name} ({flags}) {date}{{{}}}\r\n", text.len());
        let wire = &mut self.party(FIXTURES)?.wire;
        wire.send(head.as_bytes());
        // Others' changes may be told before.
        let mut line = wire.line().unwrap_or_default();
        while line.starts_with("* ") {
            line = wire.line().unwrap_or_default();
        }
        if !line.starts_with('+') {
            return Err(Wrong { why: line, fixture: true, ..Wrong::default() });
        }
        self.fixture("add", &format!("{text}\r\n"))
    }

    fn send(&mut self, connection: usize, lines: &[Sent]) -> Result<(), Wrong> {
        let (mut octets, mut sent) = (Vec::new(), Vec::new());
        for (i, line) in lines.iter().enumerate() {
            match line {
                Sent::Line(text) => {
                    let text = self.fitting(text, lines.get(i + 1));
                    octets.extend_from_slice(text.as_bytes());
                    octets.extend_from_slice(b"\r\n");
                    sent.push(text);
                }
                Sent::Octets(text) => {
                    octets.extend_from_slice(unescape(text).as_bytes());
                    sent.push(text.clone());
                }
            }
        }
        let upper = sent.join("\n").to_ascii_uppercase();
        let party = self.party(connection)?;
        party.qresync |= upper.contains("ENABLE") && upper.contains("QRESYNC");
        party.sent = sent;
        party.wire.send(&octets);
        Ok(())
    }

    /// A line as it is sent: what is bound, the names there, and the length of the literal behind it.
    fn fitting(&self, text: &str, next: Option<&Sent>) -> String {
        let text = self.names.replace(&substitute(text, &self.bound));
        match next {
            Some(Sent::Octets(next)) => text.replace("{*", &format!("{{{}", unescape(next).len())),
            Some(Sent::Line(next)) => self.fitting_name(text, next),
            None => text,
        }
    }

    /// When the literal behind it is a mailbox's name, the length of the name there.
    fn fitting_name(&self, text: String, next: &str) -> String {
        let announced = text.rsplit_once('{').and_then(|(head, rest)| {
            let rest = rest.strip_suffix('}')?;
            let (digits, sign) = rest.strip_suffix('+').map_or((rest, ""), |digits| (digits, "+"));
            Some((head, digits.parse::<usize>().ok()?, sign))
        });
        let Some((head, octets, sign)) = announced else { return text };
        match next.get(..octets).map(|name| self.names.replace(name)) {
            Some(there) => format!("{head}{{{}{sign}}}", there.len()),
            None => text,
        }
    }

    fn expect(&mut self, connection: usize, lines: &[String]) -> Result<(), Wrong> {
        let lines: Vec<String> = lines.iter().map(|line| self.names.replace(line)).collect();
        let (untagged, last) = match lines.split_last() {
            Some((last, rest)) if ends_block(last) => (rest.to_vec(), Some(last.clone())),
            _ => (lines.clone(), None),
        };
        let (bound, measure, text_owed) = (self.bound.clone(), self.measure, self.text_owed);
        let party = self.party(connection)?;
        let upper = party.sent.join("\n").to_ascii_uppercase();
        let rules = Rules {
            measure,
            uid_owed: upper.contains("UID") || party.qresync,
            by_change: upper.contains("(CHANGEDSINCE")
                || upper.contains(" CHANGEDSINCE")
                || upper.contains("QRESYNC ("),
        };
        let enough =
            |came: &[String]| last.is_none() && segments(rules, &untagged, came, &bound).is_ok();
        let (came, end) = heard(&mut *party.wire, enough);
        let all: Vec<String> = came.iter().chain(&end).cloned().collect();
        let bare = |line: &&String| line.starts_with("* OK [") && line.ends_with(']');
        let checked = match all.iter().find(bare).filter(|_| text_owed) {
            Some(line) => Err(format!("a response code without a text [S-37]: {line}")),
            None => segments(rules, &untagged, &came, &bound),
        };
        let checked = checked.and_then(|bound| match (last.as_deref(), &end) {
            (None, None) => Ok(bound),
            (Some("closed"), None) if party.wire.closed() => Ok(bound),
            (Some(pattern), Some(line)) => rules
                .line(pattern, line, &bound)
                .or_else(|| moved(rules, &upper, pattern, line, &came, &bound))
                .ok_or_else(|| format!("the answer is not the one expected: {pattern}")),
            (Some(pattern), None) => Err(format!("nothing more came; expected {pattern}")),
            (None, Some(_)) => Err("it ended before what was expected came".to_owned()),
        });
        let sent = party.sent.clone();
        self.bound = checked.map_err(|why| Wrong {
            why,
            fixture: false,
            sent,
            expected: lines,
            came: all,
        })?;
        Ok(())
    }
}

/// RFC 6851 §4.4: after MOVE the new HIGHESTMODSEQ may stand in an untagged OK; so may what RFC 7162 §3.2 asks for
/// while expunges are held back. Only EXPUNGE owes it in the tagged line.
fn moved(
    rules: Rules,
    sent: &str,
    pattern: &str,
    line: &str,
    came: &[String],
    bound: &Bound,
) -> Option<Bound> {
    let (head, code) = pattern.split_once(" [HIGHESTMODSEQ ")?;
    if sent.contains("EXPUNGE") || !rules.lenient() {
        return None;
    }
    let bound = rules.line(head, line, bound)?;
    let untagged = format!("* OK [HIGHESTMODSEQ {code}");
    came.iter().find_map(|line| rules.line(&untagged, line, &bound))
}

/// Untagged lines up to one that is not, or until that is enough, or nothing more comes.
fn heard(wire: &mut dyn Wire, enough: impl Fn(&[String]) -> bool) -> (Vec<String>, Option<String>) {
    let mut came = Vec::new();
    while let Some(line) = wire.line() {
        if !line.starts_with("* ") {
            return (came, Some(line));
        }
        came.push(line);
        if enough(&came) || came.len() == LINES_MAX {
            break;
        }
    }
    (came, None)
}

fn message(n: usize) -> String {
    format!("From: a@example.org\r\nTo: b@example.org\r\nSubject: message {n}\r\n\r\nbody {n}\r\n")
}
