//! The database file: its tables, its format number, copies of it, and migrations.
//!
//! # Invariants
//! - A file is changed only when it bears our application id and a format that is known here.
//! - Before a migration there is a verified copy; the migration is one transaction.
//! - After a failed write or sync the file is used again only as a copy that was written anew: pages that
//!   the kernel dropped may look committed in the old one [H1].

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction};

use super::directory::{Directory, OpenError, io_error, private_file, remove};
use super::migrate;

pub(super) const DATABASE: &str = "highwater.db";
/// Is there after a write or sync failed.
pub(super) const BROKEN: &str = "broken";
const COPY: &str = "highwater.db.copy";
const RECOVERED: &str = "highwater.db.recovered";
const APPLICATION_ID: u32 = 0x4857_5452;

const TABLES: &str = "
CREATE TABLE log(account INTEGER NOT NULL, number INTEGER NOT NULL, folded INTEGER NOT NULL,
  forgotten INTEGER NOT NULL, PRIMARY KEY(account, number)) WITHOUT ROWID;
CREATE TABLE delta(account INTEGER NOT NULL, number INTEGER NOT NULL, seq INTEGER NOT NULL,
  octets BLOB NOT NULL, PRIMARY KEY(account, number, seq)) WITHOUT ROWID;
CREATE TABLE page(account INTEGER NOT NULL, number INTEGER NOT NULL, key INTEGER NOT NULL,
  octets BLOB NOT NULL, PRIMARY KEY(account, number, key)) WITHOUT ROWID;
CREATE TABLE history(account INTEGER NOT NULL, number INTEGER NOT NULL, seq INTEGER NOT NULL,
  at INTEGER NOT NULL, octets BLOB NOT NULL, PRIMARY KEY(account, number, seq)) WITHOUT ROWID;
CREATE TABLE body(id INTEGER PRIMARY KEY, locator BLOB NOT NULL, len INTEGER NOT NULL,
  crc INTEGER NOT NULL, refs INTEGER NOT NULL, freed INTEGER, meta BLOB NOT NULL);
CREATE INDEX body_free ON body(freed) WHERE freed IS NOT NULL;
CREATE INDEX body_place ON body(locator, len);
CREATE TABLE account(name TEXT PRIMARY KEY, id INTEGER NOT NULL, version INTEGER NOT NULL,
  record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE usage(account INTEGER PRIMARY KEY, octets INTEGER NOT NULL,
  messages INTEGER NOT NULL);
CREATE TABLE counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counter VALUES('account', 0), ('body', 0);
";

/// Brings the tables from one format to the next.
pub(super) type Migration = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// From format 1 on, in order.
pub(super) const MIGRATIONS: &[Migration] = &[migrate::count_usage, migrate::age_history];

/// Opens, makes, recovers or migrates the database of the directory.
pub(super) fn open(
    directory: &Directory,
    migrations: &[Migration],
) -> Result<Connection, OpenError> {
    let path = directory.file(DATABASE);
    recover(directory)?;
    drop(private_file(&path).map_err(io_error("open", &path))?);
    let mut connection = bare(&path)?;
    let refused = database_error("open", &path);
    if connection.is_readonly("main").map_err(&refused)? {
        let why = "it is read-only; it must be writable for the user that runs this".to_owned();
        return Err(OpenError::Database { tried: "write to", path, why });
    }
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX).saturating_add(1);
    let found = match versions(&connection).map_err(&refused)? {
        (0, 0, true) => None,
        (APPLICATION_ID, found, _) if found > known => {
            return Err(OpenError::Newer { database: path, found, known });
        }
        (APPLICATION_ID, found, _) if found >= 1 => Some(found),
        _ => return Err(OpenError::Foreign(path)),
    };
    configure(&connection).map_err(&refused)?;
    let Some(found) = found else {
        create(&mut connection, known).map_err(database_error("make tables in", &path))?;
        directory.sync()?;
        return Ok(connection);
    };
    for (migration, from) in migrations.iter().zip(1_u32..).filter(|(_, from)| *from >= found) {
        migrate(directory, &mut connection, from, *migration)?;
    }
    Ok(connection)
}

/// A connection as every one is set: WAL, a sync at each commit, checkpoints by us alone.
pub(super) fn connect(path: &Path) -> Result<Connection, OpenError> {
    let connection = bare(path)?;
    configure(&connection).map_err(database_error("open", path))?;
    Ok(connection)
}

/// A connection that has changed nothing in the file yet.
fn bare(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // A plan does not depend on what is bound, or each new LIMIT would be parsed again.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        Ok(connection)
    };
    open().map_err(database_error("open", path))
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// The application id, the format, and whether there are no tables yet.
fn versions(connection: &Connection) -> rusqlite::Result<(u32, u32, bool)> {
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let format = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok((application, format, tables == 0))
}

fn create(connection: &mut Connection, format: u32) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", format)?;
    transaction.commit()
}

fn migrate(
    directory: &Directory,
    connection: &mut Connection,
    from: u32,
    migration: Migration,
) -> Result<(), OpenError> {
    let path = directory.file(DATABASE);
    copy(directory, connection, &format!("{DATABASE}.format{from}"))?;
    let mut run = || -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        migration(&transaction)?;
        transaction.pragma_update(None, "user_version", from + 1)?;
        transaction.commit()
    };
    run().map_err(database_error("bring to the next format", &path))
}

/// Writes a copy of the database, checks it whole and gives it the name; durable when this returns.
pub(super) fn copy(
    directory: &Directory,
    connection: &Connection,
    name: &str,
) -> Result<(), OpenError> {
    let (fresh, named) = (directory.file(COPY), directory.file(name));
    remove(&fresh).map_err(io_error("remove", &fresh))?;
    drop(private_file(&fresh).map_err(io_error("make", &fresh))?);
    let failed = database_error("copy the database to", &fresh);
    let target = fresh.to_string_lossy();
    connection.execute("VACUUM INTO ?1", [&target]).map_err(&failed)?;
    File::open(&fresh).and_then(|file| file.sync_all()).map_err(io_error("sync", &fresh))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let check = |copy: Connection| -> rusqlite::Result<String> {
        copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
    };
    let found = Connection::open_with_flags(&fresh, flags).and_then(check).map_err(&failed)?;
    if found != "ok" {
        let why = format!("the copy is damaged: {found}");
        return Err(OpenError::Database { tried: "check", path: fresh, why });
    }
    fs::rename(&fresh, &named).map_err(io_error("name the copy", &named))?;
    directory.sync()
}

/// After a failed write or sync: what can be read now is written anew and takes the place of the old files.
/// A crash on the way leaves either the old files or the whole copy to go on from.
fn recover(directory: &Directory) -> Result<(), OpenError> {
    let (path, marker) = (directory.file(DATABASE), directory.file(BROKEN));
    let recovered = directory.file(RECOVERED);
    let exists = |path: &Path| path.try_exists().map_err(io_error("look for", path));
    if !exists(&recovered)? && exists(&marker)? && exists(&path)? {
        let connection = connect(&path)?;
        copy(directory, &connection, RECOVERED)?;
    }
    if exists(&recovered)? {
        for suffix in ["-wal", "-shm"] {
            let old = directory.file(&format!("{DATABASE}{suffix}"));
            remove(&old).map_err(io_error("remove", &old))?;
        }
        directory.sync()?;
        fs::rename(&recovered, &path).map_err(io_error("put in place", &recovered))?;
        directory.sync()?;
    }
    remove(&marker).map_err(io_error("remove", &marker))
}

fn database_error(
    tried: &'static str,
    path: &Path,
) -> impl Fn(rusqlite::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |error| OpenError::Database { tried, path: path.clone(), why: error.to_string() }
}
