//! What a dialogue needs of a server, read off what it says.

use super::names::named;
use super::script::{Dialogue, Sent, Step};

/// What a server offers.
#[derive(Clone, Default, Debug)]
pub struct Offer {
    /// The capabilities that it lists once somebody is logged in.
    pub capabilities: Vec<String>,
    /// What separates the levels of its mailboxes' names, if anything.
    pub delimiter: Option<char>,
}

impl Offer {
    /// Whether a capability is listed, or one that includes it.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let listed = |name: &str| self.capabilities.iter().any(|c| c.eq_ignore_ascii_case(name));
        let rev2 = || listed("IMAP4rev2");
        listed(name)
            || match name {
                "CONDSTORE" => listed("QRESYNC"), // RFC 7162 §3.2.3
                "APPENDLIMIT" => self.capabilities.iter().any(|c| c.starts_with("APPENDLIMIT=")),
                "QUOTA" => self.capabilities.iter().any(|c| c.starts_with("QUOTA")),
                "ENABLE" | "ESEARCH" | "IDLE" | "LIST-EXTENDED" | "LIST-STATUS" | "MOVE"
                | "NAMESPACE" | "SASL-IR" | "SEARCHRES" | "STATUS=SIZE" | "UIDPLUS"
                | "UNSELECT" => rev2(),
                _ => false,
            }
    }

    /// Why the dialogue cannot be played against a server that somebody else runs; nothing when it can.
    #[must_use]
    pub fn lacks(&self, dialogue: &Dialogue) -> Option<String> {
        if let Some(reason) = &dialogue.ours {
            return Some(format!("holds for Highwater alone: {reason}"));
        }
        for (_, step) in &dialogue.steps {
            match step {
                Step::Server { .. } => return Some("needs a server started otherwise".into()),
                Step::Admin { .. } => return Some("needs an administrator".into()),
                _ => {}
            }
        }
        let names = match named(dialogue) {
            Ok(names) => names,
            Err(reason) => return Some(reason),
        };
        let mut needs = needs(dialogue);
        if names.iter().any(|name| name.contains('/')) {
            needs.push("/".into());
        }
        if needs.iter().any(|name| name == "/") && self.delimiter != Some('/') {
            return Some("needs names with / between their levels".into());
        }
        let without = |name: &&String| *name != "/" && !self.has(name);
        let missing: Vec<&str> = needs.iter().filter(without).map(String::as_str).collect();
        (!missing.is_empty()).then(|| format!("the server does not offer {}", missing.join(", ")))
    }
}

/// Words that only a server with a capability understands; anywhere in what is sent or expected.
const WORDS: [(&str, &str); 16] = [
    ("(CONDSTORE", "CONDSTORE"),
    ("MODSEQ", "CONDSTORE"),
    ("CHANGEDSINCE", "CONDSTORE"),
    ("QRESYNC", "QRESYNC"),
    ("VANISHED", "QRESYNC"),
    ("[CLOSED]", "QRESYNC"),
    ("APPENDUID", "UIDPLUS"),
    ("COPYUID", "UIDPLUS"),
    ("UID EXPUNGE", "UIDPLUS"),
    ("(STATUS (", "LIST-STATUS"),
    ("(SPECIAL-USE", "SPECIAL-USE"),
    ("(USE (", "CREATE-SPECIAL-USE"),
    ("SAVEDATE", "SAVEDATE"),
    ("SAVEDSINCE", "SAVEDATE"),
    ("SAVEDBEFORE", "SAVEDATE"),
    ("+}", "LITERAL+"),
];

/// Commands that only a server with a capability understands.
const COMMANDS: [(&str, &str); 13] = [
    ("ENABLE", "ENABLE"),
    ("IDLE", "IDLE"),
    ("MOVE", "MOVE"),
    ("UNSELECT", "UNSELECT"),
    ("NAMESPACE", "NAMESPACE"),
    ("ID", "ID"),
    ("SETACL", "ACL"),
    ("GETACL", "ACL"),
    ("DELETEACL", "ACL"),
    ("MYRIGHTS", "ACL"),
    ("LISTRIGHTS", "ACL"),
    ("GETQUOTA", "QUOTA"),
    ("GETQUOTAROOT", "QUOTA"),
];

/// What the dialogue says that it needs, and what its commands and answers show.
fn needs(dialogue: &Dialogue) -> Vec<String> {
    let mut found = dialogue.needs.clone();
    for (_, step) in &dialogue.steps {
        match step {
            Step::Send { lines, .. } => {
                for line in lines {
                    let Sent::Line(line) = line else { continue };
                    in_command(&line.to_ascii_uppercase(), &mut found);
                }
            }
            Step::Expect { lines, .. } => {
                let wanted = lines.iter().filter(|line| !line.starts_with(['!', '?']));
                wanted.for_each(|line| in_words(&line.to_ascii_uppercase(), &mut found));
            }
            _ => {}
        }
    }
    found.sort();
    found.dedup();
    found
}

fn in_command(line: &str, found: &mut Vec<String>) {
    in_words(line, found);
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    let words = words.strip_prefix(&["UID"]).unwrap_or(&words);
    let Some((command, rest)) = words.split_first() else { return };
    let known = COMMANDS.iter().filter(|(name, _)| name == command);
    found.extend(known.map(|(_, capability)| (*capability).to_owned()));
    let mut add = |name: &str| found.push(name.to_owned());
    match (*command, rest.first().copied().unwrap_or_default()) {
        ("SEARCH", "RETURN") => {
            add("ESEARCH");
            if line.contains("SAVE") {
                add("SEARCHRES");
            }
        }
        ("SEARCH", _) if line.contains(" OLDER ") || line.contains(" YOUNGER ") => add("WITHIN"),
        ("LIST", first) if first.starts_with('(') || line.contains(" RETURN ") => {
            add("LIST-EXTENDED");
        }
        ("STATUS", _) if line.contains("SIZE") => add("STATUS=SIZE"),
        _ => {}
    }
}

fn in_words(line: &str, found: &mut Vec<String>) {
    let known = WORDS.iter().filter(|(word, _)| line.contains(word));
    found.extend(known.map(|(_, capability)| (*capability).to_owned()));
    if line.contains("\"/\"") {
        found.push("/".into());
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::dialogues;
    use super::*;

    fn lacks(text: &str, capabilities: &str) -> Option<String> {
        let capabilities = capabilities.split(' ').map(str::to_owned).collect();
        let offer = Offer { capabilities, delimiter: Some('.') };
        offer.lacks(dialogues("f", text).unwrap().first().unwrap())
    }

    #[test]
    fn a_dialogue_is_skipped_for_what_it_needs_and_only_for_that() {
        let told = |name: &str| Some(format!("the server does not offer {name}"));
        for (text, offered, wanted) in [
            ("C1: a SELECT a (CONDSTORE)", "IMAP4rev1", told("CONDSTORE")),
            ("C1: a SELECT a (CONDSTORE)", "IMAP4rev1 QRESYNC", None),
            ("C1: a ENABLE QRESYNC", "IMAP4rev1 ENABLE CONDSTORE", told("QRESYNC")),
            ("C1: a NOOP\nS1: !* VANISHED\nS1: a OK", "IMAP4rev1", None),
            ("C1: a uid move 1 b", "IMAP4rev1", told("MOVE")),
            ("C1: a uid move 1 b", "IMAP4rev2", None),
            ("C1: a SEARCH RETURN (SAVE) ALL", "ESEARCH", told("SEARCHRES")),
            ("needs WITHIN\nC1: a NOOP", "X", told("WITHIN")),
        ] {
            assert_eq!(lacks(text, offered), wanted, "{text}");
        }
        for text in [
            "ours x\nC1: a NOOP",
            "server without=IDLE",
            "admin user bob",
            "C1: a SELECT INBOX",
            "mailbox a/b 1",
        ] {
            assert!(lacks(text, "IMAP4rev1").is_some(), "{text}");
        }
    }
}
