//! `highwater replay`: dialogues played against any IMAP server.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use client::Place;
use client::dialogue::{Dialogue, Door, Measure, Scratch, Stop, dialogues, play};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, Failure, say, tell};
use crate::remote::RemoteArgs;
use crate::replay::builtin::{TRANSCRIPTS, sections};
use crate::replay::{self, Outcome, Played, Report};

/// Plays dialogues against an IMAP server and tells, by RFC section, which of them hold.
#[derive(Args, Debug)]
#[command(after_help = "\
Everything happens in scratch mailboxes with a random name, which are taken away afterwards; INBOX is left \
alone. What needs an extension that the server does not offer is skipped.\n\n\
Exit codes: 0 all that was played held · 1 something did not · 2 it could not be played")]
pub(crate) struct Replay {
    /// Play the dialogues that came with Highwater: RFC 7162 and what it builds on.
    #[arg(long)]
    builtin: bool,
    /// Only dialogues whose file, title, section (`§3.1.3`) or requirement (`S-63`) holds TEXT.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Print what came of it as JSON.
    #[arg(long)]
    json: bool,
    /// Write what came of it to FILE, as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// How long the server may be silent before it counts as having nothing to say.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    patience: u64,
    /// Files of dialogues, and last where to play them: imaps://user@host[/prefix], or imap:// for STARTTLS.
    #[arg(required = true, value_name = "FILE… URL")]
    files_and_url: Vec<String>,
}

impl Replay {
    /// Does it.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let cannot = |error| Failure::new(Exit::CannotRun, error);
        let scripts = self.scripts().map_err(cannot)?;
        let (door, user, password) = self.door().map_err(cannot)?;
        let unique = random().map_err(cannot)?;
        let server = door.place.to_string();
        let stop = Stop::default();
        let watch = tokio::spawn(stop_when_asked(stop.clone())?);
        let asked = stop.clone();
        let playing = tokio::task::spawn_blocking(move || {
            let place = Scratch::open(door, &user, &password, unique, stop.clone());
            place.map(|place| perform(scripts, place, &stop))
        });
        let played = playing.await.map_err(|error| cannot(error.into()))?;
        watch.abort();
        let (played, tidied) = played.map_err(|why| cannot(anyhow!("{server}: {why}")))?;
        let report = Report { server, played };
        self.tell(&report)?;
        tidied.map_err(|why| cannot(anyhow!(why)))?;
        if asked.is_stopped() {
            return Err(cannot(anyhow!("interrupted: what was not played is not counted")));
        }
        match report.tally().failed {
            0 => Ok(()),
            failed => Err(anyhow!("{failed} dialogues failed, see above").into()),
        }
    }

    /// The dialogues that were chosen.
    fn scripts(&self) -> Result<Vec<Dialogue>> {
        let (_, files) = self.files_and_url.split_last().context("no URL")?;
        let mut all = Vec::new();
        if self.builtin {
            for (name, text) in TRANSCRIPTS {
                all.extend(dialogues(name, text)?);
            }
        }
        for file in files {
            if file.contains("://") {
                return Err(anyhow!("{file}: name the files first, and the URL last"));
            }
            let text = std::fs::read_to_string(file).with_context(|| file.clone())?;
            all.extend(dialogues(file, &text)?);
        }
        if let Some(only) = &self.only {
            all.retain(|dialogue| is_about(dialogue, only));
        }
        if all.is_empty() {
            let hint = "name files, or --builtin; --only may have left nothing";
            return Err(anyhow!("there is nothing to play: {hint}"));
        }
        Ok(all)
    }

    /// Where to, as whom, with which password.
    fn door(&self) -> Result<(Door, String, String)> {
        let url = self.files_and_url.last().context("no URL")?;
        let place: Place = url.parse()?;
        self.remote.dialogue_door(&place, Duration::from_secs(self.patience))
    }

    fn tell(&self, report: &Report) -> Result<(), Failure> {
        if let Some(file) = &self.junit {
            let written = std::fs::write(file, replay::junit(report));
            let written = written.with_context(|| file.display().to_string());
            written.map_err(|error| Failure::new(Exit::CannotRun, error))?;
        }
        if self.json { say(&replay::json(report).to_string()) } else { say(&replay::text(report)) }
    }
}

fn is_about(dialogue: &Dialogue, text: &str) -> bool {
    let sections = replay::sections(dialogue, &sections());
    dialogue.file.contains(text)
        || dialogue.title.contains(text)
        || dialogue.ids.iter().any(|id| id == text)
        || sections.iter().any(|cite| cite.to_string().contains(text))
}

/// A number that no other run has.
fn random() -> Result<u64> {
    let mut octets = [0; 8];
    let drawn = SystemRandom::new().fill(&mut octets);
    drawn.map_err(|_| anyhow!("the system gives no random numbers"))?;
    Ok(u64::from_be_bytes(octets))
}

/// Listens from now on for a signal to end, and waits for it.
fn stop_when_asked(stop: Stop) -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tell("stopping; the scratch mailboxes are taken away first");
        stop.stop();
    })
}

/// What came of a dialogue that did not hold.
fn outcome(failure: Box<client::dialogue::Failure>) -> Outcome {
    if failure.fixture {
        return Outcome::Skipped(format!("the server does not take a fixture: {}", failure.why));
    }
    Outcome::Failed(failure)
}

/// Plays all of them, and takes away what they made.
fn perform(
    scripts: Vec<Dialogue>,
    mut place: Scratch,
    stop: &Stop,
) -> (Vec<Played>, Result<(), String>) {
    let requirements = sections();
    let (mut played, mut tidied) = (Vec::new(), Ok(()));
    for dialogue in scripts {
        let begun = Instant::now();
        let outcome = match place.offer().lacks(&dialogue) {
            Some(reason) => Outcome::Skipped(reason),
            None => {
                place.next();
                let held = play(&dialogue, &mut place, Measure::Rfc);
                tidied = place.clean();
                held.map_or_else(outcome, |()| Outcome::Passed)
            }
        };
        if stop.is_stopped() {
            break;
        }
        let sections = replay::sections(&dialogue, &requirements);
        let Dialogue { file, line, title, ids, .. } = dialogue;
        played.push(Played { file, line, title, ids, sections, outcome, took: begun.elapsed() });
    }
    (played, tidied)
}
