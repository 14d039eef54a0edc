//! Plays a dialogue against sessions in process, or against a server over TCP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "tests fail loudly, and each uses a part of the runner"
)]

pub(crate) mod clock;
pub(crate) mod here;
pub(crate) mod peer;

#[allow(unused_imports, reason = "only some tests administer")]
pub(crate) use client::dialogue::Place;

use client::dialogue::{Dialogue, Measure, Scratch, Step, Stop, play};

/// Plays one dialogue; answers nothing when it holds, or cannot be played there.
pub(crate) fn run(dialogue: &Dialogue, peer: Option<&str>) -> Result<(), String> {
    let without = dialogue.steps.iter().find_map(|(_, step)| match step {
        Step::Server { without } => Some(without.clone()),
        _ => None,
    });
    let without = without.unwrap_or_default();
    let administered = dialogue.steps.iter().any(|(_, step)| matches!(step, Step::Admin { .. }));
    let held = match peer {
        Some(address) if !address.starts_with('/') => return elsewhere(dialogue, address),
        Some(_) if administered => return Ok(()),
        Some(binary) => play(dialogue, &mut peer::Spawned::new(binary, &without), Measure::Ours),
        None => play(dialogue, &mut here::Server::new(without), Measure::Ours),
    };
    held.map_err(|failure| failure.to_string())
}

/// Plays a dialogue in scratch mailboxes of a server that somebody else runs.
fn elsewhere(dialogue: &Dialogue, address: &str) -> Result<(), String> {
    let get = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let unique = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let unique = u64::try_from(unique.as_nanos()).unwrap_or_default();
    let (user, password) = (get("USER"), get("PASS"));
    let mut place = Scratch::open(peer::door(address), &user, &password, unique, Stop::default())?;
    if place.offer().lacks(dialogue).is_some() {
        return Ok(());
    }
    let held = play(dialogue, &mut place, Measure::Rfc).map_err(|failure| failure.to_string());
    place.clean().and(held)
}
