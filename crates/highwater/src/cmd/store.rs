//! Where the store is, as the command line, the environment and the file name it together.
//!
//! # Invariants
//! - The command line goes before the environment, and that before the file.
//! - What is said about a database is refused where there is none, rather than ignored.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use store_postgres::Durability;

use super::{Exit, Failure};
use crate::config::{self, Config, Count};
use crate::place::{Database, Location, Password, Place};

/// Where mail is kept when nothing else is said.
const DATA: &str = "./highwater-data";
const HEADING: &str = "With a store on PostgreSQL";

/// Where the store is.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct StoreArgs {
    /// Where mail is kept: a directory, or for many nodes a PostgreSQL database, postgres://USER@HOST/DATABASE
    /// [env: HIGHWATER_STORE] [default: ./highwater-data].
    ///
    /// A password need not stand in the URL, where `ps` shows it: PGPASSWORD or the key store.password_file of the
    /// configuration give it. TLS is spoken and the server's certificate checked unless the host is this machine or the
    /// URL says ?sslmode=disable. Several hosts, HOST:PORT,HOST:PORT, are tried for the one that takes writes.
    #[arg(long, value_name = "DIR|URL", value_parser = location, global = true)]
    store: Option<Location>,
    /// Short for --store DIR. With a database: the directory of this node, with its control socket, certificate and
    /// journals of imports, and no mail.
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// Read this configuration file; docs/highwater.toml shows every key.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// How a database is used.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct DatabaseArgs {
    /// There is no standby, and the loss of the one server may lose mail; a power cut does not.
    ///
    /// Without this and without --allow-data-loss a node starts only where synchronous_commit is on and
    /// synchronous_standby_names names a standby, so that what was acknowledged survives the loss of the primary.
    #[arg(
        long,
        global = true,
        help_heading = HEADING,
        hide_short_help = true,
        conflicts_with = "allow_data_loss"
    )]
    single_database: bool,
    /// A power cut or a crash of the server may lose mail that was acknowledged; faster, for tests.
    ///
    /// After each restart of the server that may have lost something, every mailbox gets a new UIDVALIDITY, and
    /// clients read everything again.
    #[arg(long, global = true, help_heading = HEADING, hide_short_help = true)]
    allow_data_loss: bool,
    /// The server on this timeline has everything that was acknowledged, you say so: mailboxes keep their UIDVALIDITY.
    ///
    /// For a failover while no node ran: SELECT timeline_id FROM pg_control_checkpoint() tells N.
    #[arg(long, value_name = "N", global = true, help_heading = HEADING, hide_short_help = true)]
    vouch_timeline: Option<u32>,
    /// Where message bodies are kept, if not in the database: s3://BUCKET/PREFIX, or a directory that all nodes share,
    /// file:///DIR.
    ///
    /// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION are read from the environment; AWS_ENDPOINT names another
    /// service than Amazon's, AWS_ALLOW_HTTP=true allows one without TLS. The database remembers the place, and a node
    /// that names another one, or none, is refused.
    #[arg(long, value_name = "URL", global = true, help_heading = HEADING, hide_short_help = true)]
    bodies: Option<String>,
}

/// Keeps what a URL may hold out of whatever is printed of arguments.
pub(super) fn location(text: &str) -> Result<Location, String> {
    if text.is_empty() {
        return Err("it is empty: name a directory, or postgres://USER@HOST/DATABASE".into());
    }
    Ok(Location::from(text))
}

impl StoreArgs {
    /// The configuration: the file's, or the defaults.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        match &self.config {
            None => Ok(Config::default()),
            Some(file) => {
                Config::read(file).map_err(|error| Failure::new(Exit::Config, error.into()))
            }
        }
    }

    /// Where the store is.
    pub(crate) fn place(&self, config: &Config) -> Result<Place, Failure> {
        let environment = std::env::var("HIGHWATER_STORE").ok();
        self.place_in(environment.as_deref(), &config.store)
    }

    fn place_in(
        &self,
        environment: Option<&str>,
        config: &config::Store,
    ) -> Result<Place, Failure> {
        let elsewhere = match environment {
            Some(text) => {
                Some(location(text).map_err(|why| wrong(&format!("HIGHWATER_STORE: {why}")))?)
            }
            None => config.location.clone(),
        };
        let named = self.store.clone().or(elsewhere).unwrap_or_else(|| Location::from(DATA));
        known(&named)?;
        if named.is_database() {
            let is_named = self.data.is_some() || config.data.is_some();
            let node = self.data.clone().or_else(|| config.data.clone());
            let node = node.unwrap_or_else(|| PathBuf::from(DATA));
            let database = self.database.of(named, config)?;
            return Ok(Place::Database(Database { node, is_named, ..database }));
        }
        self.database.refuse()?;
        config.refuse_database()?;
        match (&self.store, &self.data) {
            (Some(_), Some(_)) => {
                let why = "--store DIR and --data DIR say the same: leave out one";
                Err(Failure::new(Exit::CannotRun, anyhow!(why)))
            }
            (None, Some(data)) => Ok(Place::Directory(data.clone())),
            _ => Ok(Place::Directory(PathBuf::from(named.to_string()))),
        }
    }
}

/// Refuses a URL of something else before a directory is made for it; says nothing of the password in it.
pub(super) fn known(location: &Location) -> Result<(), Failure> {
    if !location.is_foreign() {
        return Ok(());
    }
    Err(wrong(&format!(
        "mail cannot be kept in {location}: name a directory, or postgres://USER@HOST/DATABASE"
    )))
}

fn wrong(why: &str) -> Failure {
    Failure::new(Exit::Config, anyhow!("{why}"))
}

impl DatabaseArgs {
    /// The database with what is said about it here, else in the file.
    pub(crate) fn of(
        &self,
        location: Location,
        config: &config::Store,
    ) -> Result<Database, Failure> {
        let durability = match (self.single_database, self.allow_data_loss) {
            (true, _) => Durability::SingleDatabase,
            (_, true) => Durability::AllowDataLoss,
            _ if config.allow_data_loss => Durability::AllowDataLoss,
            _ if config.single_database => Durability::SingleDatabase,
            _ => Durability::Synchronous,
        };
        let password = config.password_file.as_ref().map(|file| {
            let text = std::fs::read_to_string(file).with_context(|| {
                format!("{} cannot be read: check store.password_file", file.display())
            });
            text.map(|text| Password(text.lines().next().unwrap_or_default().to_owned()))
        });
        let password = password.transpose().map_err(|why| Failure::new(Exit::Config, why))?;
        Ok(Database {
            password,
            durability,
            connections: (config.writers.0, config.readers.0),
            vouched_timeline: self.vouch_timeline,
            bodies: self.bodies.clone().or_else(|| config.bodies.clone()),
            ..Database::at(location, DATA)
        })
    }

    /// Refuses what makes no sense without a database.
    pub(crate) fn refuse(&self) -> Result<(), Failure> {
        let said = [
            (self.single_database, "--single-database"),
            (self.allow_data_loss, "--allow-data-loss"),
            (self.vouch_timeline.is_some(), "--vouch-timeline"),
            (self.bodies.is_some(), "--bodies"),
        ];
        match said.into_iter().find(|(is_said, _)| *is_said) {
            None => Ok(()),
            Some((_, name)) => {
                let why = anyhow!("{name} is about a database: name it with --store postgres://…");
                Err(Failure::new(Exit::CannotRun, why))
            }
        }
    }
}

impl config::Store {
    fn refuse_database(&self) -> Result<(), Failure> {
        let usual = Self::default();
        let changed = |mine: Count, usual: Count| mine != usual;
        let said = [
            (self.data.is_some(), "data"),
            (self.password_file.is_some(), "password_file"),
            (self.bodies.is_some(), "bodies"),
            (self.single_database, "single_database"),
            (self.allow_data_loss, "allow_data_loss"),
            (changed(self.writers, usual.writers), "writers"),
            (changed(self.readers, usual.readers), "readers"),
        ];
        match said.into_iter().find(|(is_said, _)| *is_said) {
            None => Ok(()),
            Some((_, key)) => Err(wrong(&format!(
                "store.{key} is about a database: set store.location to postgres://…, or leave it out"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(store: Option<&str>, data: Option<&str>, environment: Option<&str>) -> String {
        let (store, data) = (store.map(Location::from), data.map(PathBuf::from));
        let args = StoreArgs { store, data, ..StoreArgs::default() };
        match args.place_in(environment, &config::Store::default()) {
            Ok(place) => format!("{place} in {}", place.directory().display()),
            Err(failure) => format!("{}: {}", failure.exit as u8, failure.error),
        }
    }

    #[test]
    fn the_command_line_goes_before_the_environment() {
        let url = "postgres://u:secret@h/m";
        assert_eq!(place(None, None, None), "./highwater-data in ./highwater-data");
        assert_eq!(place(None, None, Some("e")), "e in e");
        assert_eq!(place(Some("s"), None, Some(url)), "s in s");
        assert_eq!(place(None, Some("d"), Some("e")), "d in d");
        assert_eq!(place(None, Some("d"), Some(url)), "postgres://h/m in d");
        assert_eq!(place(Some(url), Some("d"), None), "postgres://h/m in d");
        assert_eq!(place(Some(url), None, None), "postgres://h/m in ./highwater-data");
        assert!(place(Some("s"), Some("d"), None).starts_with("2: "));
        let foreign = place(Some("mysql://u:secret@h/m"), None, None);
        assert!(foreign.starts_with("3: mail cannot be kept in mysql://h/m: name"), "{foreign}");
        assert!(place(None, None, Some("")).starts_with("3: HIGHWATER_STORE"));
    }

    #[test]
    fn what_is_said_about_a_database_needs_one() {
        let database = DatabaseArgs { vouch_timeline: Some(3), ..DatabaseArgs::default() };
        let mut args = StoreArgs { database, ..StoreArgs::default() };
        let usual = config::Store::default();
        let refused = args.place_in(None, &usual).unwrap_err();
        assert!(refused.error.to_string().starts_with("--vouch-timeline is about a database"));
        let Ok(Place::Database(found)) = args.place_in(Some("postgres://h/m"), &usual) else {
            panic!("no database");
        };
        assert_eq!((found.vouched_timeline, found.durability), (Some(3), Durability::Synchronous));
        args.database = DatabaseArgs { allow_data_loss: true, ..DatabaseArgs::default() };
        let file = config::Store { single_database: true, ..usual };
        let Ok(Place::Database(found)) = args.place_in(Some("postgres://h/m"), &file) else {
            panic!("no database");
        };
        assert_eq!(found.durability, Durability::AllowDataLoss);
        let refused = StoreArgs::default().place_in(None, &file).unwrap_err();
        assert!(refused.error.to_string().starts_with("store.single_database"));
        assert_eq!(refused.exit, Exit::Config);
    }
}
