//! The no-lost-change rule as a property: writers, clients that drop and resynchronise, crashes, history that
//! is forgotten; one thread, one seed, the shipped session and store on encoded octets
//! [S-39, S-130, S-148, S-149, S-150, S-151] H1–H6.
//!
//! Clients follow RFC 7162 §6 alone (`simulation/oracle.rs`) and share no state code with the server. After
//! each quiet point every client equals the mailbox.
//!
//! `SIM_STEPS` and `SIM_SEED` choose how long and which; a failure prints the line that replays it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it ran"
)]

#[path = "simulation/client.rs"]
mod client;
#[path = "runner/clock.rs"]
mod clock;
#[path = "simulation/house.rs"]
mod house;
#[path = "simulation/oracle.rs"]
mod oracle;
#[path = "simulation/watcher.rs"]
mod watcher;
#[path = "simulation/world.rs"]
mod world;

use world::{Fault, World};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs the seed for so many steps; the first contradiction, if any.
fn run(seed: u64, steps: u64, fault: Option<Fault>) -> Result<world::Tally, String> {
    let mut world = World::new(seed, fault);
    for step in 0..steps {
        world.step().map_err(|why| format!("step {step}: {why}"))?;
        if world.is_quiet_due(step) {
            world.quiet().map_err(|why| format!("quiet point after step {step}: {why}"))?;
        }
    }
    world.quiet().map_err(|why| format!("last quiet point: {why}"))?;
    Ok(world.tally)
}

#[test]
fn no_change_is_lost() {
    let (steps, first) = (number("SIM_STEPS", 20_000), number("SIM_SEED", 1));
    let seeds = number("SIM_SEEDS", 8);
    let mut tally = world::Tally::default();
    for seed in first..first + seeds {
        match run(seed, steps / seeds, None) {
            Ok(more) => tally.add(&more),
            Err(why) => panic!(
                "seed {seed}: {why}\nreplay: SIM_SEED={seed} SIM_SEEDS=1 SIM_STEPS={} \
                 cargo test -p highwater-session --test simulation no_change_is_lost",
                steps / seeds
            ),
        }
    }
    println!("{steps} steps, {seeds} seeds from {first}: {tally:?}");
    assert!(tally.crashes > 0 && tally.drops > 0 && tally.held_back > 0 && tally.conflicts > 0);
    // Every third world forgets; every fourth has several servers.
    assert!(tally.nodes_lost > 0 || seeds < 4);
    assert!(tally.fallbacks > 0 || seeds < 3);
}

/// The harness itself: each planted fault must be found.
#[test]
fn planted_faults_are_caught() {
    for fault in Fault::ALL {
        let found = (1..40).any(|seed| run(seed, 3000, Some(fault)).is_err());
        assert!(found, "{fault:?} was planted and nobody noticed");
    }
}
