//! The project's own dialogues, and the sections that their requirements stand in, within the binary.

use client::dialogue::{Cite, cites};
use std::collections::HashMap;

macro_rules! transcripts {
    ($($name:literal,)*) => {
        [$((
            $name,
            include_str!(concat!("../../../session/tests/transcripts/", $name)),
        )),*]
    };
}

/// Every file of dialogues with its name.
#[rustfmt::skip]
pub(crate) const TRANSCRIPTS: [(&str, &str); COUNT] = transcripts![
    "base-append.txt",
    "base-copy.txt",
    "base-fetch.txt",
    "base-frame.txt",
    "base-idle.txt",
    "base-list.txt",
    "base-mailbox.txt",
    "base-search.txt",
    "base-select.txt",
    "capability.txt",
    "enable.txt",
    "enabling.txt",
    "expunge.txt",
    "fetch.txt",
    "idle.txt",
    "list.txt",
    "login.txt",
    "mailboxes.txt",
    "modseq.txt",
    "nolost.txt",
    "nomodseq.txt",
    "qresync.txt",
    "search.txt",
    "select.txt",
    "sharing.txt",
    "store.txt",
    "unchangedsince.txt",
];

const COUNT: usize = 27;

/// The table of requirements.
const REQUIREMENTS: &str = include_str!("../../../../docs/rfc7162.md");

/// The sections that each requirement stands in.
pub(crate) fn sections() -> HashMap<&'static str, Vec<Cite>> {
    let is_row = |line: &&str| line.starts_with("| S-") || line.starts_with("| C-");
    let row = |line: &'static str| {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let (id, level) = (cells.next()?, cells.nth(1)?);
        // Sections are RFC 7162's unless another RFC is named.
        let mut found = cites(&format!("RFC 7162 {level}"));
        found.retain(|cite| cite.rfc != 7162 || cite.section.is_some());
        Some((id, found))
    };
    REQUIREMENTS.lines().filter(is_row).filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_transcript_is_in_the_binary_and_is_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../session/tests/transcripts");
        let there = std::fs::read_dir(folder).unwrap();
        let there: BTreeSet<String> =
            there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let here: BTreeSet<String> = TRANSCRIPTS.iter().map(|(name, _)| (*name).into()).collect();
        assert_eq!(here, there);
        for (name, text) in TRANSCRIPTS {
            assert!(!client::dialogue::dialogues(name, text).unwrap().is_empty(), "{name}");
        }
    }

    #[test]
    fn requirements_have_sections() {
        let sections = sections();
        let shown = |id: &str| {
            let found = sections.get(id).unwrap();
            found.iter().map(Cite::to_string).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(shown("S-63"), "RFC 7162 §3.1.3");
        assert_eq!(shown("S-8"), "RFC 7162 §3.1, RFC 7162 §7");
        assert_eq!(shown("S-6"), "RFC 5161 §3.1");
        assert_eq!(sections.values().filter(|found| found.is_empty()).count(), 0);
    }
}
