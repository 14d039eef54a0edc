//! A PostgreSQL of a test's own: in a temporary directory, on a free port of the loopback address, ended with the test.

#![allow(dead_code, reason = "each test uses some of it")]

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use store_postgres::{Durability, OpenError, Options, Postgres};
use tempfile::TempDir;

/// The user that a server runs as where the tests are run by root, which it refuses.
const NOBODY: u32 = 65_534;

/// A server.
pub(crate) struct Server {
    directory: TempDir,
    pub(crate) port: u16,
    runs: bool,
}

/// The programs, or `None` where it was said that they may be missing.
fn programs() -> Option<PathBuf> {
    let named = std::env::var_os("HIGHWATER_POSTGRES_BIN").map(PathBuf::from);
    let packaged = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).max()
    };
    let found = named.or_else(packaged).filter(|path| path.join("initdb").exists());
    let may_be_missing = std::env::var_os("HIGHWATER_WITHOUT_POSTGRES").is_some();
    assert!(
        found.is_some() || may_be_missing,
        "PostgreSQL is not there: install postgresql, name its programs with HIGHWATER_POSTGRES_BIN, or say \
         HIGHWATER_WITHOUT_POSTGRES=1"
    );
    found
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0)
}

fn command(program: &str, directory: &Path) -> Command {
    let programs = programs().unwrap();
    let mut command = Command::new(programs.join(program));
    // Of a package that was unpacked rather than installed, the libraries are beside the programs.
    if let Some(root) = programs.ancestors().nth(5).filter(|root| root.parent().is_some()) {
        command.env("LD_LIBRARY_PATH", root.join("usr/lib/x86_64-linux-gnu"));
    }
    command.current_dir(directory).stdin(Stdio::null()).env("LC_ALL", "C");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

impl Server {
    /// A new server; `None` where there may be none.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        programs()?;
        let directory = tempfile::Builder::new().prefix("highwater-postgres").tempdir().unwrap();
        if is_root() {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let made = command("initdb", directory.path())
            .args(["-D", "data", "-U", "highwater", "-A", "trust", "-E", "UTF8", "--no-sync"])
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "initdb failed");
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut server = Self { directory, port, runs: false };
        server.run(settings);
        Some(server)
    }

    /// Starts it, again perhaps, and waits until it is ready.
    pub(crate) fn run(&mut self, settings: &[&str]) {
        let settings: String = settings.iter().map(|setting| format!(" -c {setting}")).collect();
        let options = format!(
            "-p {} -h 127.0.0.1 -k . -c max_connections=60 -c shared_buffers=32MB{settings}",
            self.port
        );
        let started = command("pg_ctl", self.directory.path())
            .args(["-D", "data", "-l", "log", "-w", "-t", "60", "-o", &options, "start"])
            .stdout(Stdio::null())
            .status();
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        assert!(started.unwrap().success(), "the server does not come up: {log}");
        self.runs = true;
    }

    /// Runs SQL as the superuser; answers what it prints.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let port = self.port.to_string();
        let done = command("psql", self.directory.path())
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "highwater", "-d", database])
            .args(["-v", "ON_ERROR_STOP=1", "-qAtc", sql])
            .output()
            .unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// A database that nobody has used; its URL.
    pub(crate) fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mail{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://highwater@127.0.0.1:{}/{name}", self.port)
    }

    /// Ends it as a crash does: nothing is written, the next start recovers.
    pub(crate) fn kill(&mut self) {
        if std::mem::take(&mut self.runs) {
            let stopped = command("pg_ctl", self.directory.path())
                .args(["-D", "data", "-m", "immediate", "-w", "stop"])
                .stdout(Stdio::null())
                .status();
            assert!(stopped.unwrap().success(), "the server does not end");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn options() -> Options {
    Options { durability: Durability::SingleDatabase, ..Options::default() }
}

pub(crate) fn open(url: &str) -> Result<Postgres, OpenError> {
    Postgres::open(url, &options())
}
