//! The tables: made, or brought to this release's format, by the first node that comes.
//!
//! # Invariants
//! - Only a schema that bears our mark and a format that is known here is touched.
//! - A format is reached whole or not at all: each step is one transaction.

use tokio::time::timeout;

use crate::error::{Fault, OpenError};
use crate::link::{Link, PATIENCE};
use crate::place::Place;

/// What stands in `cluster.application`.
const APPLICATION: &str = "highwater";

/// The format that this release writes.
const FORMAT: i64 = 2;

/// From each format that was to the next.
const STEPS: [&str; 1] = [
    // Where bodies are, if not in the database, and what is written there so that it is not taken for another place.
    "ALTER TABLE highwater.cluster ADD COLUMN IF NOT EXISTS bodies text,
     ADD COLUMN IF NOT EXISTS bodies_mark text, ADD COLUMN IF NOT EXISTS bodies_marked boolean NOT NULL DEFAULT false",
];

const TABLES: &str = "
CREATE SCHEMA highwater;
CREATE TABLE highwater.cluster(one boolean PRIMARY KEY CHECK (one), application text NOT NULL,
  format bigint NOT NULL, system text NOT NULL, timeline bigint NOT NULL, started text NOT NULL,
  epoch bigint NOT NULL, bodies text, bodies_mark text,
  bodies_marked boolean NOT NULL DEFAULT false);
CREATE TABLE highwater.node(id text PRIMARY KEY, beat bigint NOT NULL, seen timestamptz NOT NULL);
CREATE TABLE highwater.log(account bigint NOT NULL, number bigint NOT NULL, seq bigint NOT NULL,
  folded bigint NOT NULL, forgotten bigint NOT NULL, epoch bigint NOT NULL,
  PRIMARY KEY(account, number));
CREATE TABLE highwater.delta(account bigint NOT NULL, number bigint NOT NULL, seq bigint NOT NULL,
  octets bytea NOT NULL, PRIMARY KEY(account, number, seq));
CREATE TABLE highwater.page(account bigint NOT NULL, number bigint NOT NULL, key bigint NOT NULL,
  octets bytea NOT NULL, PRIMARY KEY(account, number, key));
CREATE TABLE highwater.history(account bigint NOT NULL, number bigint NOT NULL, seq bigint NOT NULL,
  at bigint NOT NULL, octets bytea NOT NULL, PRIMARY KEY(account, number, seq));
CREATE TABLE highwater.usage(account bigint PRIMARY KEY, octets bigint NOT NULL,
  messages bigint NOT NULL);
CREATE TABLE highwater.account(name text PRIMARY KEY, id bigint NOT NULL, version bigint NOT NULL,
  record bytea NOT NULL);
CREATE TABLE highwater.body(id bigint PRIMARY KEY, locator bytea NOT NULL, len bigint NOT NULL,
  crc bigint NOT NULL, refs bigint NOT NULL CHECK (refs >= 0), freed bigint, meta bytea NOT NULL);
CREATE INDEX body_free ON highwater.body(freed) WHERE freed IS NOT NULL;
CREATE TABLE highwater.blob(id bigint NOT NULL, piece bigint NOT NULL, octets bytea NOT NULL,
  PRIMARY KEY(id, piece));
CREATE TABLE highwater.upload(locator bytea PRIMARY KEY, at bigint NOT NULL);
CREATE TABLE highwater.batch(account bigint NOT NULL, id bigint NOT NULL, done boolean NOT NULL,
  at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY(account, id));
CREATE INDEX batch_age ON highwater.batch(at);
CREATE TABLE highwater.counter(name text PRIMARY KEY, value bigint NOT NULL);
INSERT INTO highwater.counter VALUES('account', 0), ('block', 0);
INSERT INTO highwater.log VALUES(0, 0, 0, 0, 0, 0);
ALTER TABLE highwater.blob ALTER COLUMN octets SET STORAGE EXTERNAL;
";

/// What a server is, as far as it can be told from another one or from itself before a loss.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Server {
    /// The database system's identifier; nothing where the role may not read it.
    pub(crate) system: String,
    /// Rises with every promotion.
    pub(crate) timeline: i64,
    /// When it was started.
    pub(crate) started: String,
}

impl Server {
    pub(crate) async fn of(link: &Link) -> Result<Self, Fault> {
        let row = link
            .query(
                "SELECT (SELECT system_identifier::text FROM pg_control_system()),
                 ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint,
                 pg_postmaster_start_time()::text",
                &[],
            )
            .await?;
        let row = row.first().ok_or_else(|| Fault::Lost("no answer".into()))?;
        Ok(Self { system: row.get(0), timeline: row.get(1), started: row.get(2) })
    }
}

/// Makes the tables where there are none; refuses those of others and of newer releases.
pub(crate) async fn ensure(link: &Link, place: &Place, server: &Server) -> Result<(), OpenError> {
    // Two nodes that begin at once: one makes the tables, the other finds them.
    for _ in 0..10 {
        match find(link, place).await? {
            Some(()) => return Ok(()),
            None => make(link, place, server).await?,
        }
    }
    Err(unusable(place, "its tables could not be made: see the server's log".into()))
}

/// Whether the tables are there and ours.
async fn find(link: &Link, place: &Place) -> Result<Option<()>, OpenError> {
    let failed = |fault: Fault| unusable(place, fault.why());
    let exists = "SELECT to_regnamespace('highwater') IS NOT NULL, to_regclass('highwater.cluster') IS NOT NULL";
    let row = link.query(exists, &[]).await.map_err(failed)?;
    let (schema, table) = row.first().map_or((false, false), |row| (row.get(0), row.get(1)));
    if !schema {
        return Ok(None);
    }
    let foreign = || OpenError::Foreign {
        place: place.shown.clone(),
        why: "it has a schema `highwater` that is not Highwater's: use another database".into(),
    };
    if !table {
        return Err(foreign());
    }
    let found =
        link.query("SELECT application::text, format::text FROM highwater.cluster", &[]).await;
    let found = match found {
        Ok(rows) => rows,
        Err(Fault::Refused(error)) if error.to_string().contains("42703") => return Err(foreign()),
        Err(fault) => return Err(failed(fault)),
    };
    let Some(row) = found.first() else { return Err(foreign()) };
    let application: Option<String> = row.get(0);
    let format = row.get::<_, Option<String>>(1).and_then(|format| format.parse::<i64>().ok());
    let Some(format) = format.filter(|_| application.as_deref() == Some(APPLICATION)) else {
        return Err(foreign());
    };
    if format > FORMAT {
        return Err(OpenError::Foreign {
            place: place.shown.clone(),
            why: format!(
                "its format is {format}, this program knows {FORMAT}: use the newer release"
            ),
        });
    }
    migrate(link, format).await.map_err(failed)?;
    Ok(Some(()))
}

/// Brings the tables from an older format to this one. Nodes that begin at once do it one after the other: the first
/// statement of a step locks the table, and does nothing the second time.
async fn migrate(link: &Link, format: i64) -> Result<(), Fault> {
    for (old, step) in (1_i64..).zip(STEPS) {
        if old >= format {
            let new = old + 1;
            let sql = format!(
                "BEGIN; {step}; UPDATE highwater.cluster SET format = {new} WHERE format = {old}; COMMIT"
            );
            if let Err(error) = link.client().batch_execute(&sql).await {
                link.run("ROLLBACK").await?;
                return Err(error.into());
            }
        }
    }
    Ok(())
}

async fn make(link: &Link, place: &Place, server: &Server) -> Result<(), OpenError> {
    let Server { system, timeline, started } = server;
    let quoted = |text: &str| text.replace('\'', "''");
    let sql = format!(
        "BEGIN; {TABLES} INSERT INTO highwater.cluster VALUES(true, '{APPLICATION}', {FORMAT}, '{}', {timeline}, '{}', 0); COMMIT",
        quoted(system),
        quoted(started)
    );
    match timeout(PATIENCE, link.client().batch_execute(&sql)).await {
        Ok(Ok(())) => Ok(()),
        Err(_) => {
            let why =
                "PostgreSQL did not answer within 10 seconds: is its synchronous standby there?";
            Err(unusable(place, format!("its tables could not be made: {why}")))
        }
        Ok(Err(error)) => {
            let rolled_back = link.run("ROLLBACK").await;
            let code = error.code().map_or("", tokio_postgres::error::SqlState::code);
            // Somebody else was faster.
            if ["42P06", "42P07", "23505"].contains(&code) && rolled_back.is_ok() {
                return Ok(());
            }
            let why = crate::error::text(&error);
            let to_do = match code {
                "42501" => {
                    "; give the role the right to make a schema: GRANT CREATE ON DATABASE … TO …"
                }
                _ => "",
            };
            Err(unusable(place, format!("its tables could not be made: {why}{to_do}")))
        }
    }
}

pub(crate) fn unusable(place: &Place, why: String) -> OpenError {
    OpenError::Server { place: place.shown.clone(), why }
}
