//! A PostgreSQL of a test's own: in a temporary directory, on a free port of the loopback address, ended with the test.

#![allow(dead_code, reason = "each test uses some of it")]

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use store::engine::{AccountId, Append, Commit, Engine as _, LogId};
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

fn new_directory() -> TempDir {
    let directory = tempfile::Builder::new().prefix("highwater-postgres").tempdir().unwrap();
    if is_root() {
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    directory
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Sends a signal to a process.
pub(crate) fn signal(name: &str, pid: &str) {
    assert!(Command::new("kill").args([name, pid]).status().unwrap().success());
}

/// What comes about sooner or later.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within 30 seconds: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

impl Server {
    /// A new server; `None` where there may be none.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        programs()?;
        let directory = new_directory();
        let made = command("initdb", directory.path())
            .args(["-D", "data", "-U", "highwater", "-A", "trust", "-E", "UTF8", "--no-sync"])
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "initdb failed");
        let mut server = Self { directory, port: free_port(), runs: false };
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

    /// A file system of so many MiB; `None` where none may be mounted.
    pub(crate) fn small_disk(&self, mib: u32) -> Option<SmallDisk> {
        let disk = SmallDisk(self.directory.path().join("disk"));
        std::fs::create_dir(&disk.0).unwrap();
        if !disk.mount(&format!("size={mib}m,mode=700")) {
            return None;
        }
        chown(&disk.0, Some(NOBODY), Some(NOBODY)).unwrap();
        Some(disk)
    }

    /// A PgBouncer before it that lends a session for one transaction.
    pub(crate) fn pooler(&self, program: &str, more: &str) -> Pooler {
        let port = free_port();
        let directory = new_directory();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
             logfile = pooler.log\n{more}\n",
            self.port
        );
        let settings = settings.replace("* = ", "* = user=highwater ");
        std::fs::write(directory.path().join("pooler.ini"), settings).unwrap();
        let mut command = Command::new(program);
        command.current_dir(directory.path()).arg("pooler.ini");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let child = command.spawn().unwrap();
        let pooler = Pooler { port, child, _directory: directory };
        until("the pooler answers", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        pooler
    }

    /// A database as `pg_dump` writes it.
    pub(crate) fn dump(&self, database: &str) -> String {
        let url = format!("postgres://highwater@127.0.0.1:{}/{database}", self.port);
        let done = command("pg_dump", self.directory.path()).arg(url).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Reads what [`Server::dump`] has written.
    pub(crate) fn load(&self, database: &str, dump: &str) {
        self.write("dump", dump.as_bytes());
        let url = format!("postgres://highwater@127.0.0.1:{}/{database}", self.port);
        let done = command("psql", self.directory.path())
            .args(["-v", "ON_ERROR_STOP=1", "-qf", "data/dump", &url])
            .stdout(Stdio::null())
            .status();
        assert!(done.unwrap().success(), "the dump cannot be read");
    }

    /// A session that runs SQL meanwhile, and stays until it is waited for.
    pub(crate) fn session(&self, database: &str, sql: &str) -> Child {
        let port = self.port.to_string();
        let mut session = command("psql", self.directory.path())
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "highwater", "-d", database])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        writeln!(session.stdin.as_mut().unwrap(), "{sql};").unwrap();
        session
    }

    /// A database that nobody has used; its URL.
    pub(crate) fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mail{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://highwater@127.0.0.1:{}/{name}", self.port)
    }

    /// A server that follows this one. Its data is copied with `pg_basebackup`.
    pub(crate) fn standby(&self) -> Self {
        let directory = new_directory();
        let copied = command("pg_basebackup", directory.path())
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "highwater"])
            .args(["-D", "data", "-R", "-c", "fast", "--no-sync"])
            .status();
        assert!(copied.unwrap().success(), "pg_basebackup failed");
        let mut standby = Self { directory, port: free_port(), runs: false };
        standby.run(&[]);
        standby
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        let promoted = command("pg_ctl", self.directory.path())
            .args(["-D", "data", "-w", "promote"])
            .stdout(Stdio::null())
            .status();
        assert!(promoted.unwrap().success(), "the standby cannot be promoted");
    }

    /// The process of this kind, as `pg_stat_activity` names it.
    pub(crate) fn process(&self, kind: &str) -> String {
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE backend_type = '{kind}'");
        until(kind, || Some(self.sql("postgres", &sql)).filter(|pid| !pid.is_empty()))
    }

    /// Changes a setting, as of the next moment.
    pub(crate) fn set(&self, name: &str, value: &str) {
        self.sql("postgres", &format!("ALTER SYSTEM SET {name} = {value}"));
        self.sql("postgres", "SELECT pg_reload_conf()");
        let plain = value.trim_matches('\'');
        until(name, || (self.sql("postgres", &format!("SHOW {name}")) == plain).then_some(()));
    }

    /// A file in its data directory.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.directory.path().join("data").join(name)
    }

    /// Writes a file into its data directory that only it may read.
    pub(crate) fn write(&self, name: &str, octets: &[u8]) {
        let path = self.data(name);
        std::fs::write(&path, octets).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        if is_root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    /// Ends it as a crash does: nothing is written, the next start recovers.
    pub(crate) fn kill(&mut self) {
        self.end("immediate");
    }

    /// Ends it in order: every session is ended first.
    pub(crate) fn stop(&mut self) {
        self.end("fast");
    }

    fn end(&mut self, mode: &str) {
        if std::mem::take(&mut self.runs) {
            let stopped = command("pg_ctl", self.directory.path())
                .args(["-D", "data", "-m", mode, "-w", "stop"])
                .stdout(Stdio::null())
                .status();
            assert!(stopped.unwrap().success(), "the server does not end");
        }
    }
}

/// A file system in memory.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(&self, options: &str) -> bool {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "none"]).arg(&self.0).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    pub(crate) fn path(&self) -> String {
        self.0.display().to_string()
    }

    pub(crate) fn grow(&self, mib: u32) {
        assert!(self.mount(&format!("remount,size={mib}m")));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The server may have files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).stderr(Stdio::null()).status();
    }
}

/// A pooler, ended when it is dropped.
pub(crate) struct Pooler {
    pub(crate) port: u16,
    child: Child,
    _directory: TempDir,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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

pub(crate) const LOG: LogId = LogId { account: AccountId(1), number: 1 };

/// One delta more.
pub(crate) fn append(log: LogId, seq: u64) -> Commit {
    let append = Append { log, after: seq - 1, seq, delta: vec![1], history: None };
    Commit { appends: vec![append], ..Commit::default() }
}

/// How far a log has come.
pub(crate) fn seq(engine: &Postgres, log: LogId) -> u64 {
    engine.head(log).unwrap().map_or(0, |head| head.seq)
}
