//! Reading a file of dialogues. docs/replay.md describes the dialect.

use super::cite::{Cite, cites, ids};
use super::words::unescape;
use std::fmt;

/// One step of a dialogue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The server lacks these capabilities.
    Server {
        /// Their names.
        without: Vec<String>,
    },
    /// What an administrator does.
    Admin {
        /// Its words.
        words: Vec<String>,
    },
    /// A new mailbox with messages that are alike but for their number.
    Mailbox {
        /// Its name.
        name: String,
        /// How many messages.
        count: usize,
    },
    /// A new mailbox with five messages: (), (\Seen), (\Deleted), ($Work), ().
    Five {
        /// Its name.
        name: String,
    },
    /// One more message.
    Message {
        /// The mailbox.
        name: String,
        /// Flags, separated by spaces.
        flags: String,
        /// The internal date; empty for now.
        date: String,
        /// The message; nothing for any.
        text: Option<String>,
    },
    /// A connection that does not log in by itself.
    Connect {
        /// Its number.
        connection: usize,
    },
    /// Sent in one piece.
    Send {
        /// By which connection.
        connection: usize,
        /// What.
        lines: Vec<Sent>,
    },
    /// What is to come.
    Expect {
        /// On which connection.
        connection: usize,
        /// Patterns.
        lines: Vec<String>,
    },
    /// A comparison of two numbers.
    Assert {
        /// A number or `$name`.
        left: String,
        /// `>`, `>=`, `<`, `==` or `!=`.
        operator: String,
        /// A number or `$name`.
        right: String,
    },
}

/// Something sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sent {
    /// With CRLF.
    Line(String),
    /// As it is, escapes written out.
    Octets(String),
}

/// A dialogue, read.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Dialogue {
    /// The file's name.
    pub file: String,
    /// The line that it begins at.
    pub line: usize,
    /// Its title; the file's name for want of one.
    pub title: String,
    /// The RFCs' sections that its comments name; the file's, if they name none.
    pub cites: Vec<Cite>,
    /// The requirements that its comments name, `S-63`.
    pub ids: Vec<String>,
    /// Capabilities and mailboxes that it says it needs.
    pub needs: Vec<String>,
    /// Why it holds for Highwater alone.
    pub ours: Option<String>,
    /// What is done, each with its line.
    pub steps: Vec<(usize, Step)>,
}

/// Why a file is not in the dialect.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ScriptError {
    /// The file.
    pub file: String,
    /// The line.
    pub line: usize,
    /// What is wrong, and what is right.
    pub what: String,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

impl std::error::Error for ScriptError {}

/// Reads a file's dialogues.
///
/// # Errors
/// With the line when something is not in the dialect.
pub fn dialogues(file: &str, text: &str) -> Result<Vec<Dialogue>, ScriptError> {
    let begin = |line, title: &str| Dialogue {
        file: file.to_owned(),
        line,
        title: title.to_owned(),
        cites: Vec::new(),
        ids: Vec::new(),
        needs: Vec::new(),
        ours: None,
        steps: Vec::new(),
    };
    let (mut all, mut of_the_file): (Vec<Dialogue>, Vec<Cite>) = (Vec::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        if let Some(title) = line.strip_prefix("== ") {
            all.push(begin(number, title.trim()));
        } else if line.starts_with('#') {
            match all.last_mut() {
                Some(dialogue) => {
                    dialogue.cites.extend(cites(line));
                    dialogue.ids.extend(ids(line));
                }
                None => of_the_file.extend(cites(line)),
            }
        } else if !line.trim().is_empty() {
            if all.is_empty() {
                all.push(begin(number, file));
            }
            let Some(dialogue) = all.last_mut() else { continue };
            add(dialogue, number, line).map_err(|what| ScriptError {
                file: file.to_owned(),
                line: number,
                what,
            })?;
        }
    }
    for dialogue in &mut all {
        if dialogue.cites.is_empty() {
            dialogue.cites.clone_from(&of_the_file);
        }
    }
    Ok(all)
}

fn add(dialogue: &mut Dialogue, number: usize, line: &str) -> Result<(), String> {
    let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
    if let Some((who, connection, end)) = speaker(head) {
        let rest = rest.to_owned();
        match (who, end) {
            ('C', ':') => said(&mut dialogue.steps, number, connection, Sent::Line(rest)),
            ('C', '<') => said(&mut dialogue.steps, number, connection, Sent::Octets(rest)),
            _ => expected(&mut dialogue.steps, number, connection, rest),
        }
        return Ok(());
    }
    match head {
        "needs" => {
            let names = rest.split([',', ' ']).filter(|name| !name.is_empty());
            dialogue.needs.extend(names.map(str::to_owned));
        }
        "ours" if rest.trim().is_empty() => return Err("ours wants the reason behind it".into()),
        "ours" => dialogue.ours = Some(rest.trim().to_owned()),
        _ => dialogue.steps.push((number, step(head, rest)?)),
    }
    Ok(())
}

/// `C1:`, `C1<` or `S1:`.
fn speaker(head: &str) -> Option<(char, usize, char)> {
    let mut chars = head.chars();
    let (who, end) = (chars.next()?, chars.next_back()?);
    let known = matches!((who, end), ('C', ':' | '<') | ('S', ':'));
    let connection = chars.as_str().parse().ok()?;
    known.then_some((who, connection, end))
}

fn said(steps: &mut Vec<(usize, Step)>, number: usize, by: usize, sent: Sent) {
    match steps.last_mut() {
        Some((_, Step::Send { connection, lines })) if *connection == by => lines.push(sent),
        _ => steps.push((number, Step::Send { connection: by, lines: vec![sent] })),
    }
}

fn expected(steps: &mut Vec<(usize, Step)>, number: usize, on: usize, line: String) {
    match steps.last_mut() {
        Some((_, Step::Expect { connection, lines }))
            if *connection == on && !lines.last().is_some_and(|line| ends_block(line)) =>
        {
            lines.push(line);
        }
        _ => steps.push((number, Step::Expect { connection: on, lines: vec![line] })),
    }
}

fn step(head: &str, rest: &str) -> Result<Step, String> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let number = |text: &str| text.parse().map_err(|_| format!("{text} is no number"));
    Ok(match (head, words.as_slice()) {
        ("server", [list]) if list.starts_with("without=") => {
            let names = list.trim_start_matches("without=").split(',');
            Step::Server { without: names.map(str::to_owned).collect() }
        }
        ("admin", [_, ..]) => Step::Admin { words: owned(&words) },
        ("mailbox", [name, count]) => {
            Step::Mailbox { name: (*name).to_owned(), count: number(count)? }
        }
        ("five", [name]) => Step::Five { name: (*name).to_owned() },
        ("message", [name, ..]) => Step::Message {
            name: (*name).to_owned(),
            flags: value(rest, "flags=(", ')').unwrap_or_default(),
            date: value(rest, "date=\"", '"').unwrap_or_default(),
            text: value(rest, "text=\"", '"').map(|text| unescape(&text)),
        },
        ("connect", [connection]) => Step::Connect { connection: number(connection)? },
        ("assert", [left, operator @ (">" | ">=" | "<" | "==" | "!="), right]) => Step::Assert {
            left: (*left).to_owned(),
            operator: (*operator).to_owned(),
            right: (*right).to_owned(),
        },
        _ => return Err(format!("not in the dialect: {head} {rest}")),
    })
}

/// A tagged line, a continuation or the end: nothing belongs to the same answer after it.
pub(super) fn ends_block(line: &str) -> bool {
    !(line.starts_with(['*', '!', '?']) || line == "..." || line == "---")
}

fn value(text: &str, begin: &str, end: char) -> Option<String> {
    let (_, rest) = text.split_once(begin)?;
    Some(rest.split_once(end)?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialogues_steps_and_what_they_prove_are_read() {
        let text = "# About RFC 3501 §6.\n== one\n# RFC 7162 §3.1 [S-1 a].\nneeds QRESYNC, X\nfive INBOX\nC1: a NOOP\nC1< x\\r\\n\nS1: * 1 EXISTS\nS1: a OK\nS1: b OK\n== two\nours why not\nassert $a > 1\n";
        let all = dialogues("f", text).unwrap();
        let [one, two] = all.as_slice() else { unreachable!("two dialogues") };
        assert_eq!((one.title.as_str(), one.line, one.steps.len()), ("one", 2, 4));
        assert_eq!((one.ids.as_slice(), one.needs.len()), ([String::from("S-1")].as_slice(), 2));
        assert_eq!((one.cites.len(), one.cites.first().map(|c| c.rfc)), (1, Some(7162)));
        assert_eq!(
            (two.ours.as_deref(), two.cites.first().map(|c| c.rfc)),
            (Some("why not"), Some(3501))
        );
    }

    #[test]
    fn what_is_not_in_the_dialect_is_told_with_its_line() {
        for wrong in [
            "X",
            "mailbox a",
            "mailbox a b",
            "C: a",
            "Cx: a",
            "assert a",
            "assert 1 ~ 2",
            "server",
            "ours",
            "five",
            "connect x",
            "§",
            "C",
            "message",
        ] {
            let error = dialogues("f", &format!("five INBOX\n{wrong}\n")).unwrap_err();
            assert_eq!((error.line, error.to_string().starts_with("f:2: ")), (2, true), "{wrong}");
        }
    }
}
