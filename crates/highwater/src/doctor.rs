//! Proves, or disproves, that an IMAP server's conditional STORE has one winner: races against it, and a verdict.
//!
//! # Invariants
//! - Only scratch mailboxes are touched, and they are removed however the races end.
//! - A round counts for the verdict when two or more requests were in flight at one moment.
//!
//! # Standards
//! RFC 7162 §3.1.3.

mod chance;
mod claim;
mod door;
mod field;
mod judge;
mod moves;
mod report;
mod resync;
mod tally;
mod transcript;

use std::time::{Duration, Instant};

use client::{Connection, Error};
use indicatif::ProgressBar;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::remote::Door;
use chance::Chance;
use door::Scratch;
use field::Field;

pub(crate) use report::Report;
pub(crate) use tally::{Kind, ROUNDS_FOR_SAFE};
use tally::{Race, Tallies, Tally, counted};

/// How often connections that broke are made anew before the races end.
const BREAKS_MAX: u64 = 5;
/// Turns of all races after which they end, whatever was shown: on some servers no round counts.
const TURNS_MAX: u32 = 10_000;

/// What is to be played.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Clients that race.
    pub(crate) clients: usize,
    /// Rounds that count for the verdict, after which the races end.
    pub(crate) rounds: u64,
    /// The time after which they end.
    pub(crate) time: Option<Duration>,
    /// The kinds of races.
    pub(crate) kinds: Vec<Kind>,
    /// What repeats the order of requests.
    pub(crate) seed: u64,
}

/// Plays the races until there were enough, time is over or `interrupted` ends; then removes the scratch mailboxes.
pub(crate) async fn examine(
    door: &Door,
    plan: &Plan,
    progress: &ProgressBar,
    interrupted: impl Future<Output = ()>,
) -> Report {
    let mut report = Report::new(door, plan);
    let begun = Instant::now();
    let (scratch, mut control) = match prepare(door, &mut report).await {
        Ok(prepared) => prepared,
        Err(error) => return report.ended(begun, Some(error.to_string())),
    };
    let tallies = &mut report.tallies;
    let playing = async {
        scratch.make(&mut control).await?;
        control.close().await;
        play(door, &scratch, plan, tallies, progress).await
    };
    // The scratch mailboxes have names before they exist: whenever this ends, they are known.
    let reason = tokio::select! {
        played = playing => played.err().map(|error| error.to_string()),
        () = interrupted => Some("interrupted".to_owned()),
    };
    report.left_over = scratch.remove(door).await.err().map(|error| {
        format!("{} and {} could not be removed: {error}", scratch.mailbox, scratch.moved)
    });
    report.ended(begun, reason)
}

/// The first connection: what the server is, and whether it can be examined.
async fn prepare(door: &Door, report: &mut Report) -> Result<(Scratch, Connection), Error> {
    let mut control = door.connect().await?;
    report.secure = control.is_secure();
    report.server = door::identity(&mut control).await?;
    report.capabilities = control.capabilities().to_vec();
    if !control.has("CONDSTORE") && !control.has("QRESYNC") {
        return Err(Error::Lacks("CONDSTORE"));
    }
    if !control.has("UIDPLUS") {
        return Err(Error::Lacks("UIDPLUS"));
    }
    let mut random = [0; 8];
    SystemRandom::new().fill(&mut random).map_err(|_| Error::Lacks("random numbers"))?;
    let scratch = Scratch::name(&mut control, u64::from_ne_bytes(random)).await?;
    Ok((scratch, control))
}

/// Plays, with new connections when the server ends some.
async fn play(
    door: &Door,
    scratch: &Scratch,
    plan: &Plan,
    tallies: &mut Tallies,
    progress: &ProgressBar,
) -> Result<(), Error> {
    let deadline = plan.time.map(|time| Instant::now() + time);
    let mut breaks = 0;
    loop {
        let chance = Chance::new(plan.seed.wrapping_add(breaks));
        let mut field = Field::open(door, scratch, plan.clients, chance).await?;
        match turns(&mut field, plan, deadline, tallies, progress).await {
            Err(error) if error.is_fatal() && breaks < BREAKS_MAX => breaks += 1,
            ended => return ended,
        }
    }
}

/// Slices of all races in turn.
async fn turns(
    field: &mut Field,
    plan: &Plan,
    deadline: Option<Instant>,
    tallies: &mut Tallies,
    progress: &ProgressBar,
) -> Result<(), Error> {
    let can_move = field.control.has("MOVE");
    let mut races = Race::ALL.to_vec();
    races.retain(|race| plan.kinds.contains(&race.kind()) && (can_move || *race != Race::Move));
    if races.is_empty() {
        return Err(Error::Lacks("MOVE"));
    }
    let decides = races.iter().any(|race| race.has_one_winner());
    for _ in 0..TURNS_MAX {
        for race in races.iter().copied() {
            slice(field, race, tallies.entry(race).or_default()).await?;
            let counts = if decides { counted(tallies) } else { in_flight(tallies) };
            progress.set_position(counts);
            let enough = counts >= plan.rounds && tallies.len() >= races.len();
            if enough || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn in_flight(tallies: &Tallies) -> u64 {
    tallies.values().map(|tally| tally.in_flight).sum()
}

async fn slice(field: &mut Field, race: Race, tally: &mut Tally) -> Result<(), Error> {
    match race.kind() {
        Kind::Claim => claim::claims(field, race, tally).await,
        Kind::Arrival => claim::arrivals(field, race, tally).await,
        Kind::Burst => claim::bursts(field, tally).await,
        Kind::Lease => claim::leases(field, tally).await,
        Kind::Ghost => claim::ghosts(field, tally).await,
        Kind::Move => moves::moves(field, tally).await,
        Kind::Resync => resync::resyncs(field, tally).await,
    }
}
