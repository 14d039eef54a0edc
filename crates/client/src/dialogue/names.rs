//! The mailboxes of a dialogue and the scratch mailboxes that stand for them on a server.

use super::script::{Dialogue, Sent, Step};
use super::words::{plain, split};

/// Pairs of names: in the dialogue, on the server.
#[derive(Clone, Default, Debug)]
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    /// The name that stands for this one, or itself.
    pub(super) fn there(&self, name: &str) -> String {
        let found = self.0.iter().find(|(from, _)| from == name);
        found.map_or_else(|| name.to_owned(), |(_, to)| to.clone())
    }

    /// Lets one name stand for another from now on.
    pub(super) fn add(&mut self, from: &str, to: &str) {
        self.0.push((from.to_owned(), to.to_owned()));
    }

    /// The line with the names on the server in place of the dialogue's. INBOX is INBOX in any case.
    pub(super) fn replace(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (from, to) in self.0.iter().filter(|(from, to)| from != to) {
            line = replaced(&line, from, to);
        }
        line
    }
}

/// The mailboxes that a dialogue names, in its fixtures and in its commands, so that each gets a scratch name.
///
/// # Errors
/// With the reason when it is about the user's INBOX, or one cannot be given another name.
pub(super) fn named(dialogue: &Dialogue) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for (_, step) in &dialogue.steps {
        match step {
            Step::Mailbox { name, .. } | Step::Five { name } | Step::Message { name, .. } => {
                names.push(name.clone());
            }
            _ => {}
        }
    }
    let sent = dialogue.steps.iter().filter_map(|(_, step)| match step {
        Step::Send { lines, .. } => Some(lines),
        _ => None,
    });
    let lines = sent.flatten().filter_map(|sent| match sent {
        Sent::Line(line) => Some(line.as_str()),
        Sent::Octets(_) => None,
    });
    let lines: Vec<&str> = lines.collect();
    let inbox = names.iter().any(|name| name == "INBOX");
    for (at, line) in lines.iter().enumerate() {
        for name in in_command(line, lines.get(at + 1).copied().unwrap_or_default()) {
            let top = name.split('/').next().unwrap_or_default();
            if name == INBOX_ITSELF || top.eq_ignore_ascii_case("INBOX") {
                if !inbox || name == INBOX_ITSELF {
                    return Err("needs the user's INBOX, which is left alone".into());
                }
            } else if name.is_empty() || !name.chars().all(may_be_renamed) || top.is_empty() {
                return Err(format!("no scratch mailbox can stand for {name:?}"));
            } else {
                names.extend([name.clone(), top.to_owned()]);
            }
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

fn may_be_renamed(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.&+,#/".contains(c)
}

/// Stands for the INBOX that no other mailbox can stand for.
const INBOX_ITSELF: &str = "INBOX itself";

/// The mailboxes that a command is about; `next` is the line behind it, for literals.
fn in_command(line: &str, next: &str) -> Vec<String> {
    let words = split(line);
    let mut words = words.iter().skip(1).map(String::as_str).peekable();
    words.next_if(|word| word.eq_ignore_ascii_case("UID"));
    let command = words.next().unwrap_or_default().to_ascii_uppercase();
    let (skipped, taken) = match command.as_str() {
        "CREATE" | "DELETE" | "SELECT" | "EXAMINE" | "SUBSCRIBE" | "UNSUBSCRIBE" | "STATUS"
        | "APPEND" | "SETACL" | "DELETEACL" | "GETACL" | "LISTRIGHTS" | "MYRIGHTS" => (0, 1),
        "RENAME" => (0, 2),
        "COPY" | "MOVE" => (1, 1),
        _ => return Vec::new(),
    };
    let own = ["CREATE", "DELETE", "RENAME"].contains(&command.as_str());
    if own && words.peek().is_some_and(|word| word.eq_ignore_ascii_case("INBOX")) {
        // What these mean for INBOX they mean for no other.
        return vec![INBOX_ITSELF.into()];
    }
    let named = words.skip(skipped).take(taken).filter(|word| !word.starts_with("$(prefix)"));
    let value = |word: &str| match word.strip_prefix('{') {
        Some(octets) => {
            let octets = octets.trim_end_matches(['}', '+']).parse().unwrap_or(0);
            next.get(..octets).unwrap_or(next).to_owned()
        }
        None => plain(word),
    };
    named.map(value).collect()
}

fn replaced(line: &str, from: &str, to: &str) -> String {
    let begins = |c: char| " \"(\n".contains(c);
    let ends = |c: char| " \")/\r".contains(c);
    let any_case = from.eq_ignore_ascii_case("INBOX");
    let same = |text: &str| text == from || any_case && text.eq_ignore_ascii_case(from);
    let mut out = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let free = out.chars().next_back().is_none_or(begins);
        let here = rest.get(..from.len()).filter(|here| free && same(here));
        let after = here.and_then(|here| rest.get(here.len()..));
        match after.filter(|after| after.chars().next().is_none_or(ends)) {
            Some(after) => {
                out.push_str(to);
                rest = after;
            }
            None => {
                out.push(c);
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mailbox_that_a_command_names_gets_another_name() {
        let named = |text: &str| {
            let all = super::super::dialogues("f", text).unwrap();
            named(all.first().unwrap()).map(|names| names.join(" "))
        };
        let text = "five INBOX\nC1: a uid copy 1 Other\nC1: b RENAME a/b \"c\"\nC1: d CREATE {3+}\nC1: Box\nC1: e SELECT inbox";
        assert_eq!(named(text).unwrap(), "Box INBOX Other a a/b c");
        for wrong in [
            "C1: a SELECT inbox",
            "C1: a CREATE \"x*y\"",
            "C1: a CREATE /x",
            "C1: a CREATE \"\"",
            "C1: a APPEND Inbox/x {3}",
        ] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_whole_names_are_replaced() {
        let mut names = Names::default();
        names.add("INBOX", "t-INBOX");
        names.add("Box", "t-Box");
        names.add("Same", "Same");
        assert_eq!(
            names.replace("a COPY 1 inbox \"Box\" Box/x Boxes (Box) INBOX \\Box §Box"),
            "a COPY 1 t-INBOX \"t-Box\" t-Box/x Boxes (t-Box) t-INBOX \\Box §Box"
        );
        assert_eq!((names.there("Box"), names.there("x")), ("t-Box".into(), "x".into()));
    }
}
