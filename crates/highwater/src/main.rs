//! Highwater: one program with a subcommand for everything.
//!
//! # Invariants
//! - ring is the only TLS provider, installed before anything else.
//! - Standard output is for what was asked for; logs and hints go to standard error.
//! - Exit codes are those that `highwater --help` lists.

mod auth;
mod balancer;
mod bench;
mod cmd;
mod config;
mod connection;
mod context;
mod control;
mod doctor;
mod doors;
mod http;
mod lmtp;
mod logins;
mod mail;
mod metrics;
mod place;
mod remote;
mod replay;
mod server;
mod tls;
mod wire;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use tracing_subscriber::filter::LevelFilter;

use cmd::{Cli, Command, Failure, tell};
use config::Level;

/// Threads that drive connections; the work that blocks has others.
const WORKERS_MAX: usize = 4;
/// Threads for what blocks: disk, PBKDF2.
const BLOCKING_MAX: usize = 64;
/// How long threads that still block may hold up the end.
const TIME_TO_END: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    install_crypto();
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            tell(&format!("highwater: {:#}", failure.error));
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Makes ring the provider of cryptography for TLS.
pub(crate) fn install_crypto() {
    // It fails only when a provider is there already, and there is no other than this.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, WORKERS_MAX))
        .max_blocking_threads(BLOCKING_MAX)
        .thread_name("highwater")
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let done = runtime.block_on(async {
        // A task of its own, so that work that blocks may hand its other tasks to another thread.
        match tokio::spawn(obey(cli.command)).await {
            Ok(done) => done,
            Err(error) => Err(anyhow::Error::from(error).into()),
        }
    });
    runtime.shutdown_timeout(TIME_TO_END);
    done
}

async fn obey(command: Command) -> Result<ExitCode, Failure> {
    let done = match command {
        Command::Serve(serve) => {
            let config = serve.config()?;
            log_from(config.log.level);
            serve.run(config).await
        }
        Command::Demo(demo) => {
            log_from(Level::Warn);
            demo.run().await
        }
        Command::User(user) => {
            log_from(Level::Warn);
            user.run().await
        }
        Command::Mailbox(mailbox) => {
            log_from(Level::Warn);
            mailbox.run().await
        }
        Command::Group(group) => {
            log_from(Level::Warn);
            group.run().await
        }
        Command::Quota(quota) => {
            log_from(Level::Warn);
            quota.run().await
        }
        Command::Replay(replay) => {
            log_from(Level::Warn);
            replay.run().await
        }
        Command::Queue(queue) => {
            log_from(Level::Warn);
            queue.run().await
        }
        Command::Import(import) => {
            log_from(Level::Warn);
            import.run().await
        }
        Command::Export(export) => {
            log_from(Level::Warn);
            export.run().await
        }
        Command::Bench(bench) => {
            log_from(Level::Warn);
            bench.run().await
        }
        Command::Migrate(migrate) => {
            log_from(Level::Warn);
            migrate.run().await
        }
        Command::Doctor(doctor) => {
            log_from(Level::Warn);
            return doctor.run().await;
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Logs to standard error from this level up.
fn log_from(level: Level) {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
