//! What the rounds of each race showed, and the verdict on all of them: pure.
//!
//! # Standards
//! RFC 7162 §3.1 and §3.1.3: a server may keep a mod-sequence for each flag, so that two clients which add different
//! keywords do not conflict.

use std::fmt;

use clap::ValueEnum;

use super::transcript::Transcript;

/// Rounds with two or more requests in flight that SAFE takes.
pub(crate) const ROUNDS_FOR_SAFE: u64 = 20_000;

/// Kinds of races, as the command line names them.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// All claim one message.
    Claim,
    /// All claim a message that has just arrived.
    Arrival,
    /// All claim 20 messages in one STORE.
    Burst,
    /// One extends its lease of a message while the others take it over.
    Lease,
    /// All claim a message that was just expunged.
    Ghost,
    /// All move one message.
    Move,
    /// One client drops and comes back while the others change messages.
    Resync,
}

/// A race, and the form of its request: a row of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Race {
    /// A claim by adding the same keyword.
    ClaimKeyword,
    /// A claim by adding `\Flagged`.
    ClaimFlagged,
    /// A claim by adding a keyword of one's own.
    ClaimOwn,
    /// A claim by replacing the flags with a keyword of one's own.
    ClaimReplace,
    /// As [`Race::ClaimKeyword`], for a message that has just arrived.
    ArrivalKeyword,
    /// As [`Race::ClaimOwn`], for a message that has just arrived.
    ArrivalOwn,
    /// As [`Race::ClaimOwn`], for 20 messages at once.
    BurstOwn,
    /// A lease extended against take-overs.
    Lease,
    /// Claims on an expunged message.
    Ghost,
    /// Moves.
    Move,
    /// A client that drops and comes back.
    Resync,
}

impl Race {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Self; 11] = [
        Self::ClaimKeyword,
        Self::ClaimFlagged,
        Self::ClaimOwn,
        Self::ClaimReplace,
        Self::ArrivalKeyword,
        Self::ArrivalOwn,
        Self::BurstOwn,
        Self::Lease,
        Self::Ghost,
        Self::Move,
        Self::Resync,
    ];

    /// The kind, by which it is chosen.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::ClaimKeyword | Self::ClaimFlagged | Self::ClaimOwn | Self::ClaimReplace => {
                Kind::Claim
            }
            Self::ArrivalKeyword | Self::ArrivalOwn => Kind::Arrival,
            Self::BurstOwn => Kind::Burst,
            Self::Lease => Kind::Lease,
            Self::Ghost => Kind::Ghost,
            Self::Move => Kind::Move,
            Self::Resync => Kind::Resync,
        }
    }

    /// What the clients ask for.
    pub(crate) fn request(self) -> &'static str {
        match self {
            Self::ClaimKeyword | Self::ArrivalKeyword => "+FLAGS (same keyword)",
            Self::ClaimFlagged => "+FLAGS (\\Flagged)",
            Self::ClaimOwn | Self::ArrivalOwn => "+FLAGS (own keyword)",
            Self::ClaimReplace => "FLAGS (own keyword)",
            Self::BurstOwn => "+FLAGS (own keyword), 20 UIDs",
            Self::Lease => "FLAGS (own keyword, beat)",
            Self::Ghost => "+FLAGS (own keyword), expunged",
            Self::Move => "UID MOVE",
            Self::Resync => "drop and resync",
        }
    }

    /// Whether RFC 7162 §3.1.3 promises one winner here, so that its rounds count for the verdict.
    pub(crate) fn has_one_winner(self) -> bool {
        !matches!(self, Self::Ghost | Self::Move | Self::Resync)
    }

    /// Whether what is found here decides the verdict.
    pub(crate) fn decides(self) -> bool {
        // A claim on what is gone has no winner, and RFC 6851 does not promise one.
        !matches!(self, Self::Ghost | Self::Move)
    }

    /// Whether the requests name different flags and keep what others set, so that a server with a mod-sequence for
    /// each flag may grant them all.
    fn adds_own(self) -> bool {
        matches!(self, Self::ClaimOwn | Self::ArrivalOwn | Self::BurstOwn)
    }

    /// Whether each client has a mark by which the proof rule can tell it.
    pub(crate) fn has_proof(self) -> bool {
        self.adds_own() || matches!(self, Self::ClaimReplace | Self::Lease)
    }
}

impl fmt::Display for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind() {
            Kind::Claim => "claim",
            Kind::Arrival => "arrival",
            Kind::Burst => "burst",
            Kind::Lease => "lease",
            Kind::Ghost => "ghost",
            Kind::Move => "move",
            Kind::Resync => "resync",
        })
    }
}

/// What the rounds of one race showed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// Rounds played.
    pub(crate) rounds: u64,
    /// Rounds with two or more requests proven in flight at one moment.
    pub(crate) in_flight: u64,
    /// Messages with two winners or more by the plain rule.
    pub(crate) several: u64,
    /// The most winners that a message had.
    pub(crate) most: usize,
    /// Messages with one winner that end otherwise than it was told; messages that a client is wrong about after a
    /// resync, and what it was told that did not add up.
    pub(crate) otherwise: u64,
    /// Messages that nobody has won by the plain rule.
    pub(crate) none: u64,
    /// Messages with two winners or more by the proof rule.
    pub(crate) proof_several: u64,
    /// Messages that nobody has won by the proof rule.
    pub(crate) proof_none: u64,
    /// Requests answered neither OK nor MODIFIED.
    pub(crate) refused: u64,
    /// The first message with something wrong.
    pub(super) first: Option<Transcript>,
}

impl Tally {
    /// Counts a round.
    pub(super) fn round(&mut self, in_flight: usize) {
        self.rounds += 1;
        self.in_flight += u64::from(in_flight >= 2);
    }
}

/// What it all comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// The plain rule has held in enough rounds.
    Safe,
    /// The plain rule has failed where RFC 7162 promises one winner, or a resync lost a change, or the proof rule
    /// has failed.
    Unsafe,
    /// The plain rule has failed only where a mod-sequence for each flag may make it fail; the proof rule never.
    SafeWithProof,
    /// Nothing was shown.
    Inconclusive,
}

impl Verdict {
    /// As people read it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Safe => "SAFE",
            Self::Unsafe => "UNSAFE",
            Self::SafeWithProof => "SAFE WITH PROOF",
            Self::Inconclusive => "INCONCLUSIVE",
        }
    }

    /// The exit code; 2 is what a wrong command line has.
    pub(crate) fn exit(self) -> u8 {
        match self {
            Self::Safe => 0,
            Self::Unsafe => 1,
            Self::Inconclusive => 3,
            Self::SafeWithProof => 4,
        }
    }
}

/// The tallies, by race.
pub(crate) type Tallies = std::collections::BTreeMap<Race, Tally>;

/// Rounds that count for the verdict.
pub(crate) fn counted(tallies: &Tallies) -> u64 {
    let one_winner = tallies.iter().filter(|(race, _)| race.has_one_winner());
    one_winner.map(|(_, tally)| tally.in_flight).sum()
}

/// Whether the proof rule has told one winner at most of every message.
pub(crate) fn proof_held(tallies: &Tallies) -> bool {
    tallies.values().all(|tally| tally.proof_several == 0)
}

/// The verdict; `complete` unless something kept the races from being played.
pub(crate) fn verdict(tallies: &Tallies, complete: bool) -> Verdict {
    let violated = |race: &Race, tally: &Tally| {
        let several = tally.several > 0 && !race.adds_own();
        race.decides() && (several || tally.otherwise > 0)
    };
    let weak = |race: &Race, tally: &Tally| race.adds_own() && tally.several > 0;
    if !proof_held(tallies) || tallies.iter().any(|(race, tally)| violated(race, tally)) {
        Verdict::Unsafe
    } else if !complete || counted(tallies) < ROUNDS_FOR_SAFE {
        Verdict::Inconclusive
    } else if tallies.iter().any(|(race, tally)| weak(race, tally)) {
        Verdict::SafeWithProof
    } else {
        Verdict::Safe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(in_flight: u64) -> Tally {
        Tally { rounds: in_flight, in_flight, ..Tally::default() }
    }

    fn tallies(rows: &[(Race, Tally)]) -> Tallies {
        rows.iter().cloned().collect()
    }

    #[test]
    fn safe_takes_enough_rounds_that_count() {
        let rows =
            |claims, moves| tallies(&[(Race::ClaimOwn, tally(claims)), (Race::Move, tally(moves))]);
        assert_eq!(verdict(&rows(20_000, 0), true), Verdict::Safe);
        assert_eq!(verdict(&rows(20_000, 0), false), Verdict::Inconclusive);
        assert_eq!(verdict(&rows(19_999, 90_000), true), Verdict::Inconclusive);
        let alone = Tally { rounds: 90_000, in_flight: 100, ..Tally::default() };
        assert_eq!(verdict(&tallies(&[(Race::Lease, alone)]), true), Verdict::Inconclusive);
    }

    #[test]
    fn one_violation_is_enough_however_few_rounds_there_were() {
        for race in [Race::ClaimKeyword, Race::ClaimFlagged, Race::ClaimReplace, Race::Lease] {
            let several = Tally { several: 1, ..tally(10) };
            assert_eq!(verdict(&tallies(&[(race, several)]), false), Verdict::Unsafe, "{race:?}");
        }
        for race in Race::ALL.into_iter().filter(|race| race.has_one_winner()) {
            let otherwise = Tally { otherwise: 1, ..tally(10) };
            assert_eq!(verdict(&tallies(&[(race, otherwise)]), true), Verdict::Unsafe, "{race:?}");
            let proof = Tally { several: 1, proof_several: 1, ..tally(90_000) };
            assert_eq!(verdict(&tallies(&[(race, proof)]), true), Verdict::Unsafe, "{race:?}");
        }
        let differs = Tally { otherwise: 1, ..tally(10) };
        assert_eq!(verdict(&tallies(&[(Race::Resync, differs)]), true), Verdict::Unsafe);
    }

    #[test]
    fn different_keywords_need_not_conflict() {
        let weak = Tally { several: 30_000, ..tally(30_000) };
        let found = verdict(&tallies(&[(Race::ClaimOwn, weak.clone())]), true);
        assert_eq!(found, Verdict::SafeWithProof);
        let same = Tally { several: 1, ..tally(1) };
        let found = verdict(&tallies(&[(Race::ClaimOwn, weak), (Race::ClaimKeyword, same)]), true);
        assert_eq!(found, Verdict::Unsafe);
    }

    #[test]
    fn ghosts_and_moves_are_told_and_never_counted() {
        let several = Tally { several: 500, ..tally(500) };
        let rows = [
            (Race::ClaimOwn, tally(20_000)),
            (Race::Ghost, several.clone()),
            (Race::Move, several),
        ];
        assert_eq!(verdict(&tallies(&rows), true), Verdict::Safe);
    }
}
