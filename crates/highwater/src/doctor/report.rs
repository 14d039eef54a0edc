//! What was found, as people and programs read it.

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};

use super::Plan;
use super::tally::{ROUNDS_FOR_SAFE, Race, Tallies, Tally, Verdict, counted, proof_held, verdict};
use super::transcript::Transcript;
use crate::remote::Door;

/// Everything that is worth telling.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    place: String,
    pub(super) secure: bool,
    pub(super) server: String,
    pub(super) capabilities: Vec<String>,
    clients: usize,
    seed: u64,
    seconds: f64,
    pub(super) tallies: Tallies,
    /// Why the races ended early.
    reason: Option<String>,
    /// What could not be removed.
    pub(super) left_over: Option<String>,
}

impl Report {
    /// A report of nothing yet.
    pub(super) fn new(door: &Door, plan: &Plan) -> Self {
        Self {
            place: door.place.to_string(),
            secure: false,
            server: String::new(),
            capabilities: Vec::new(),
            clients: plan.clients,
            seed: plan.seed,
            seconds: 0.0,
            tallies: Tallies::new(),
            reason: None,
            left_over: None,
        }
    }

    /// The report when the races have ended, early for some reason or when there were enough.
    pub(super) fn ended(mut self, begun: Instant, reason: Option<String>) -> Self {
        self.seconds = begun.elapsed().as_secs_f64();
        self.reason = reason;
        self
    }

    /// The verdict.
    pub(crate) fn verdict(&self) -> Verdict {
        verdict(&self.tallies, self.reason.is_none())
    }

    /// A message that could not be removed, and must be by hand.
    pub(crate) fn left_over(&self) -> Option<&str> {
        self.left_over.as_deref()
    }

    /// For people: a table that can be put into a bug report, the first round that went wrong, the verdict.
    pub(crate) fn text(&self) -> String {
        let verdict = format!("{}: {}", self.verdict().as_str(), self.explained());
        if self.capabilities.is_empty() {
            // Nobody has been in.
            return format!("{}: {verdict}", self.place);
        }
        let mut text = String::new();
        let tls = if self.secure { "TLS" } else { "no TLS" };
        // Writing to a String does not fail.
        let _ = writeln!(text, "server        {}", self.server);
        let _ = writeln!(text, "place         {} ({tls})", self.place);
        let _ = writeln!(text, "capabilities  {}", self.capabilities.join(" "));
        let _ = writeln!(
            text,
            "played        {} clients, seed {}, {:.0} s\n\n{}",
            self.clients,
            self.seed,
            self.seconds,
            table(&self.tallies)
        );
        for transcript in self.transcripts() {
            let _ = writeln!(text, "first: {}\n", transcript.what);
            for line in &transcript.lines {
                let _ = writeln!(text, "    {line}");
            }
            text.push('\n');
        }
        text + &verdict
    }

    /// The first round that went wrong, of the races that decide; else of the others.
    fn transcripts(&self) -> impl Iterator<Item = &Transcript> {
        let of = |decides: bool| {
            let some = self.tallies.iter().filter(move |(race, _)| race.decides() == decides);
            some.filter_map(|(_, tally)| tally.first.as_ref())
        };
        let worst = self.tallies.values().filter(|tally| tally.proof_several > 0);
        let worst = worst.filter_map(|tally| tally.first.as_ref());
        worst.chain(of(true)).take(1).chain(of(false))
    }

    /// What the verdict means.
    fn explained(&self) -> String {
        let counted = counted(&self.tallies);
        let all = |what: fn(&Tally) -> u64| self.tallies.values().map(what).sum::<u64>();
        let proof = if proof_held(&self.tallies) {
            "The proof rule (last FETCH above the condition, with exactly one's own mark) told one winner at most \
             of every message: clients that apply it are safe here."
        } else {
            "The proof rule does not help: two clients had a proof."
        };
        match self.verdict() {
            Verdict::Safe => format!(
                "in {counted} rounds with two or more requests in flight, no message had two clients that were told \
                 OK without MODIFIED."
            ),
            Verdict::Unsafe => {
                let rows = self.tallies.iter().filter(|(race, _)| race.decides());
                let several: u64 = rows.map(|(_, tally)| tally.several + tally.otherwise).sum();
                format!(
                    "{several} messages had several winners, or ended otherwise than told, in {counted} rounds with \
                     two or more requests in flight.\n{proof}"
                )
            }
            Verdict::SafeWithProof => format!(
                "messages to which clients add different keywords have several winners, as RFC 7162 §3.1 allows \
                 ({} of them, in {counted} rounds).\n{proof}",
                all(|tally| tally.several)
            ),
            Verdict::Inconclusive => {
                let few = format!("{counted} rounds with two or more requests in flight");
                match &self.reason {
                    Some(reason) => format!("{reason} ({few})."),
                    None => format!("no violation in {few}; SAFE takes {ROUNDS_FOR_SAFE}."),
                }
            }
        }
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let transcript =
            |transcript: &Transcript| json!({ "what": transcript.what, "lines": transcript.lines });
        let row = |(race, tally): (&Race, &Tally)| {
            json!({
                "race": race.to_string(),
                "request": race.request(),
                "decides": race.decides(),
                "rounds": tally.rounds,
                "in_flight": tally.in_flight,
                "several_winners": tally.several,
                "winners_max": tally.most,
                "no_winner": tally.none,
                "ended_otherwise": tally.otherwise,
                "refused": tally.refused,
                "proof": race.has_proof().then(|| json!({
                    "several_winners": tally.proof_several,
                    "no_winner": tally.proof_none,
                })),
                "first": tally.first.as_ref().map(transcript),
            })
        };
        json!({
            "verdict": self.verdict().as_str(),
            "explained": self.explained(),
            "place": self.place,
            "tls": self.secure,
            "server": self.server,
            "capabilities": self.capabilities,
            "clients": self.clients,
            "seed": self.seed,
            "seconds": self.seconds,
            "rounds_counted": counted(&self.tallies),
            "ended_early": self.reason,
            "left_over": self.left_over,
            "races": self.tallies.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

const HEADS: [&str; 10] = [
    "race",
    "request",
    "rounds",
    "in flight",
    "two or more winners",
    "at most",
    "none",
    "ends otherwise",
    "proof: two or more",
    "proof: none",
];

/// A Markdown table that is aligned for those who read it as it is.
fn table(tallies: &Tallies) -> String {
    let mut rows: Vec<Vec<String>> = vec![HEADS.map(str::to_owned).to_vec()];
    for (race, tally) in tallies {
        let applies = |applies: bool, number: u64| {
            if applies { number.to_string() } else { "–".to_owned() }
        };
        rows.push(vec![
            race.to_string(),
            race.request().to_owned(),
            tally.rounds.to_string(),
            tally.in_flight.to_string(),
            applies(*race != Race::Resync, tally.several),
            applies(*race != Race::Resync, tally.most as u64),
            applies(*race != Race::Resync, tally.none),
            applies(race.decides(), tally.otherwise),
            applies(race.has_proof(), tally.proof_several),
            applies(race.has_proof(), tally.proof_none),
        ]);
    }
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
                if at < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
        })
        .collect();
    let rule = widths.iter().enumerate().map(|(at, width)| {
        if at < 2 { "-".repeat(*width) } else { format!("{}:", "-".repeat(width - 1)) }
    });
    lines.insert(1, format!("| {} |", rule.collect::<Vec<_>>().join(" | ")));
    lines.push(String::new());
    lines.join("\n")
}
