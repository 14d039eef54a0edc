//! What came of playing dialogues against a server: by RFC section, in words, JSON and JUnit.

pub(crate) mod builtin;
mod format;

pub(crate) use format::{json, junit, text};

use client::dialogue::{Cite, Dialogue, Failure};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What came of a dialogue.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It held.
    Passed,
    /// It did not.
    Failed(Box<Failure>),
    /// It could not be played there, and why.
    Skipped(String),
}

/// A dialogue that was played or skipped.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) title: String,
    pub(crate) ids: Vec<String>,
    /// The sections that it is about.
    pub(crate) sections: BTreeSet<Cite>,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// How many there were of each kind.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
        }
    }
}

/// All that came of it.
#[derive(Debug)]
pub(crate) struct Report {
    /// Where it was played, without a password.
    pub(crate) server: String,
    pub(crate) played: Vec<Played>,
}

impl Report {
    /// The whole.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.played.iter().for_each(|played| tally.count(&played.outcome));
        tally
    }

    /// By section: RFC 7162's sections each, other RFCs as one. A dialogue counts in each that it is about.
    fn by_section(&self) -> BTreeMap<Cite, Tally> {
        let mut all: BTreeMap<Cite, Tally> = BTreeMap::new();
        for played in &self.played {
            let rows: BTreeSet<Cite> = played.sections.iter().map(row).collect();
            for row in rows {
                all.entry(row).or_default().count(&played.outcome);
            }
        }
        all
    }

    fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.played.iter().filter_map(|played| match &played.outcome {
            Outcome::Failed(failure) => Some(&**failure),
            _ => None,
        })
    }

    /// Reasons to skip, with how many were skipped for each; what is ours alone is one of them.
    fn skips(&self) -> BTreeMap<&str, usize> {
        let mut all = BTreeMap::new();
        for played in &self.played {
            if let Outcome::Skipped(reason) = &played.outcome {
                let ours = reason.split_once(OURS).map(|_| OURS);
                *all.entry(ours.unwrap_or(reason)).or_default() += 1;
            }
        }
        all
    }
}

/// How the reasons begin that are about us.
const OURS: &str = "holds for Highwater alone";

/// The RFC that the kit is about.
const RFC: u32 = 7162;

/// The row of the summary that a section counts in.
fn row(cite: &Cite) -> Cite {
    match cite.rfc {
        RFC => cite.clone(),
        rfc => Cite { rfc, section: None },
    }
}

/// The sections that a dialogue is about: those that its comments name, and those of its requirements.
pub(crate) fn sections(
    dialogue: &Dialogue,
    requirements: &std::collections::HashMap<&str, Vec<Cite>>,
) -> BTreeSet<Cite> {
    let of_ids = dialogue.ids.iter().filter_map(|id| requirements.get(id.as_str())).flatten();
    dialogue.cites.iter().chain(of_ids).cloned().collect()
}
