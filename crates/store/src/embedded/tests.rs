//! What only this engine does; the rest is in the contract.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::engine::Append;

const LOG: LogId = LogId { account: AccountId(1), number: 1 };

fn append(after: u64, seq: u64, octets: usize) -> Commit {
    let append = Append { log: LOG, after, seq, delta: vec![7; octets], history: None };
    Commit { appends: vec![append], ..Commit::default() }
}

fn last(engine: &Embedded) -> u64 {
    engine.head(LOG).unwrap().map_or(0, |head| head.seq)
}

fn user_version(directory: &TempDir, name: &str) -> u32 {
    let connection = Connection::open(directory.path().join(name)).unwrap();
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[test]
fn a_directory_in_use_is_refused_by_name_and_process() {
    let directory = TempDir::new().unwrap();
    let engine = Embedded::open(directory.path()).unwrap();
    let refused = Embedded::open(directory.path()).unwrap_err().to_string();
    assert!(refused.contains(&directory.path().display().to_string()), "{refused}");
    assert!(refused.contains(&std::process::id().to_string()), "{refused}");
    drop(engine);
    Embedded::open(directory.path()).unwrap();
}

#[test]
fn files_are_private() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("mail/data");
    let engine = Embedded::open(&directory).unwrap();
    engine.commit(&append(0, 1, 10)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_full_disk_is_rolled_back_and_passes() {
    let directory = TempDir::new().unwrap();
    let engine = Embedded::open(directory.path()).unwrap();
    engine.commit(&append(0, 1, 10)).unwrap();
    engine.writer().pragma_update(None, "max_page_count", 30).unwrap();
    let refused = engine.commit(&append(1, 2, 1 << 20));
    assert!(matches!(refused, Err(EngineError::Full(_))), "{refused:?}");
    assert_eq!(last(&engine), 1);
    engine.writer().pragma_update(None, "max_page_count", 1 << 30).unwrap();
    engine.commit(&append(1, 2, 1 << 20)).unwrap();
}

#[test]
fn a_broken_engine_refuses_writes_and_recovers_into_a_new_file() {
    use std::os::unix::fs::MetadataExt;

    let directory = TempDir::new().unwrap();
    let engine = Embedded::open(directory.path()).unwrap();
    engine.commit(&append(0, 1, 10)).unwrap();
    drop(engine.health.break_with("a sync failed".to_owned()));
    assert!(matches!(engine.commit(&append(1, 2, 10)), Err(EngineError::Broken(_))));
    assert!(matches!(engine.next_account(), Err(EngineError::Broken(_))));
    assert_eq!(last(&engine), 1);
    drop(engine);

    let inode = || fs::metadata(directory.path().join(schema::DATABASE)).unwrap().ino();
    let before = inode();
    let engine = Embedded::open(directory.path()).unwrap();
    assert_ne!(inode(), before);
    assert_eq!(last(&engine), 1);
    engine.commit(&append(1, 2, 10)).unwrap();
    assert!(!directory.path().join(schema::BROKEN).exists());
}

#[test]
fn a_recovery_cut_short_is_gone_on_with() {
    let directory = TempDir::new().unwrap();
    let engine = Embedded::open(directory.path()).unwrap();
    engine.commit(&append(0, 1, 10)).unwrap();
    engine.copy("highwater.db.recovered").unwrap();
    drop(engine.health.break_with("a sync failed".to_owned()));
    drop(engine);
    fs::write(directory.path().join("highwater.db.copy"), b"half").unwrap();
    let engine = Embedded::open(directory.path()).unwrap();
    assert_eq!(last(&engine), 1);
    engine.copy("backup.db").unwrap();
}

#[test]
fn an_older_format_is_migrated_after_a_copy() {
    let directory = TempDir::new().unwrap();
    Embedded::open(directory.path()).unwrap().commit(&append(0, 1, 10)).unwrap();
    let migrations: [schema::Migration; 4] = [
        schema::MIGRATIONS[0],
        schema::MIGRATIONS[1],
        |transaction| transaction.execute_batch("CREATE TABLE extra(a)"),
        |transaction| transaction.execute_batch("INSERT INTO extra VALUES(1)"),
    ];
    let engine = Embedded::open_with(directory.path(), &migrations).unwrap();
    assert_eq!(last(&engine), 1);
    drop(engine);
    assert_eq!(user_version(&directory, "highwater.db"), 5);
    assert_eq!(user_version(&directory, "highwater.db.format3"), 3);
    assert_eq!(user_version(&directory, "highwater.db.format4"), 4);

    let refused = Embedded::open(directory.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 5, known: 3, .. }), "{refused}");
}

#[test]
fn a_failed_migration_changes_nothing() {
    let directory = TempDir::new().unwrap();
    drop(Embedded::open(directory.path()).unwrap());
    let migration: schema::Migration = |transaction| {
        transaction.execute_batch("CREATE TABLE extra(a); INSERT INTO none VALUES(1)")
    };
    let migrations = [schema::MIGRATIONS[0], schema::MIGRATIONS[1], migration];
    assert!(Embedded::open_with(directory.path(), &migrations).is_err());
    assert_eq!(user_version(&directory, "highwater.db"), 3);
    Embedded::open(directory.path()).unwrap();
}

#[test]
fn a_database_of_something_else_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(schema::DATABASE);
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE other(a)").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(Embedded::open(directory.path()), Err(OpenError::Foreign(_))));
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::write(&path, b"not a database at all, but long enough to be looked at").unwrap();
    assert!(matches!(Embedded::open(directory.path()), Err(OpenError::Database { .. })));
}

#[test]
fn a_path_that_is_no_directory_is_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, b"").unwrap();
    let refused = Embedded::open(&path).unwrap_err().to_string();
    assert!(refused.contains(&path.display().to_string()), "{refused}");
}

#[test]
fn a_clean_end_empties_the_wal() {
    let directory = TempDir::new().unwrap();
    let engine = Embedded::open(directory.path()).unwrap();
    engine.commit(&append(0, 1, 1 << 20)).unwrap();
    let wal = directory.path().join("highwater.db-wal");
    assert!(fs::metadata(&wal).unwrap().len() > 1 << 20);
    drop(engine);
    assert_eq!(fs::metadata(&wal).map_or(0, |file| file.len()), 0);
    assert_eq!(last(&Embedded::open(directory.path()).unwrap()), 1);
}

/// Takes from the tables what format 3 added.
const FORMAT_2: &str = "ALTER TABLE log DROP COLUMN forgotten;
    ALTER TABLE history DROP COLUMN at;";

#[test]
fn format_2_has_forgotten_nothing_and_ages_from_now_on() {
    // [S-130]
    let directory = TempDir::new().unwrap();
    let engine = Embedded::open(directory.path()).unwrap();
    let mut commit = append(0, 1, 10);
    commit.appends[0].history = Some(vec![9, 9]);
    engine.commit(&commit).unwrap();
    drop(engine);
    let connection = Connection::open(directory.path().join(schema::DATABASE)).unwrap();
    connection.execute_batch(FORMAT_2).unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    drop(connection);
    let engine = Embedded::open(directory.path()).unwrap();
    assert_eq!(user_version(&directory, "highwater.db.format2"), 2);
    let mut found = Vec::new();
    let mut add = |seq, octets: &[u8]| {
        found.push((seq, octets.to_vec()));
        Ok(())
    };
    assert_eq!(engine.history(LOG, 0, &mut add).unwrap(), 0);
    assert_eq!(found, [(1, vec![9, 9])]);
    // It was made at second 0, and counts from the migration.
    assert_eq!(engine.forget_history(1_700_000_000).unwrap(), 0);
    assert_eq!(engine.forget_history(i64::MAX).unwrap(), 1);
}

#[test]
fn format_1_counts_what_each_account_has() {
    let directory = TempDir::new().unwrap();
    let engine = Embedded::open(directory.path()).unwrap();
    let uid_validity = imap::number::UidValidity::MIN;
    let delta = crate::apply::birth(uid_validity, &crate::Acl::default());
    let seq = delta.mod_seq.value();
    let log = LogId { account: AccountId(4), number: 1 };
    let born = Append { log, after: 0, seq, delta: delta.encode(), history: None };
    engine.commit(&Commit { appends: vec![born], ..Commit::default() }).unwrap();
    drop(engine);
    let connection = Connection::open(directory.path().join(schema::DATABASE)).unwrap();
    connection.execute_batch("DROP TABLE usage; PRAGMA user_version = 1").unwrap();
    connection.execute_batch(FORMAT_2).unwrap();
    drop(connection);
    let engine = Embedded::open(directory.path()).unwrap();
    assert_eq!(engine.usage(AccountId(4)).unwrap(), Usage::default());
    assert_eq!(user_version(&directory, "highwater.db.format1"), 1);
}
