//! Where mail is kept: a directory, or a PostgreSQL database that many nodes share.
//!
//! # Invariants
//! - A password in a URL is shown nowhere: what is printed of a [`Location`] has no user and no parameters.
//! - The directory of a node on PostgreSQL bears a mark, so that nobody takes it for one that holds mail.

mod open;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use store_postgres::Durability;

pub(crate) use open::{Health, OpenError, OpenStore, Use};

/// What a user says of where mail is: a directory or a URL, which may hold a password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Location(String);

impl Location {
    /// The URL of a database, if it is one.
    fn url(&self) -> Option<&str> {
        let is_url = ["postgres://", "postgresql://"].iter().any(|it| self.0.starts_with(it));
        is_url.then_some(self.0.as_str())
    }

    /// Whether it is the URL of nothing that mail can be kept in: taken for a directory, it would be made.
    pub(crate) fn is_foreign(&self) -> bool {
        self.url().is_none() && self.0.contains("://")
    }

    /// Whether it is a database.
    pub(crate) fn is_database(&self) -> bool {
        self.url().is_some()
    }
}

impl From<&str> for Location {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.url() {
            Some(url) => f.write_str(&shown(url)),
            None if self.is_foreign() => f.write_str(&shown(&self.0)),
            None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A URL without its user, password and parameters.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
    let (place, parameters) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    // A password may hold what should be encoded: nothing before the last @ is shown, wherever that is.
    match place.rsplit_once('@') {
        _ if parameters.contains('@') => format!("{scheme}://…"),
        Some((_, place)) => format!("{scheme}://{place}"),
        None => format!("{scheme}://{place}"),
    }
}

/// Where mail is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a directory, for one process.
    Directory(PathBuf),
    /// In a database.
    Database(Database),
}

/// A PostgreSQL database, and how this node uses it.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    /// Its URL.
    pub(crate) location: Location,
    /// The password, where the URL has none.
    pub(crate) password: Option<Password>,
    /// Where message bodies are, if not in it: s3://BUCKET/PREFIX or file:///DIR.
    pub(crate) bodies: Option<String>,
    /// The directory of this node.
    pub(crate) node: PathBuf,
    /// Whether that directory was named, rather than taken because none was.
    pub(crate) is_named: bool,
    /// What its server must be set up for.
    pub(crate) durability: Durability,
    /// Connections that write, and that read.
    pub(crate) connections: (usize, usize),
    /// The timeline that the administrator vouches for.
    pub(crate) vouched_timeline: Option<u32>,
}

/// What is never printed.
#[derive(Clone)]
pub(crate) struct Password(pub(crate) String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Place {
    /// The directory of the process that serves this place: its lock, its control socket, its certificate.
    pub(crate) fn directory(&self) -> &Path {
        match self {
            Self::Directory(directory) => directory,
            Self::Database(database) => &database.node,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => write!(f, "{}", directory.display()),
            Self::Database(database) => write!(f, "{}", database.location),
        }
    }
}

/// The file that marks the directory of a node: it names the database.
const MARK: &str = "node";

/// The database of mail in a directory.
const EMBEDDED: &str = "highwater.db";

/// Whether mail is kept in this directory.
pub(crate) fn holds_mail(directory: &Path) -> bool {
    directory.join(EMBEDDED).exists()
}

/// The database of the node whose directory this is, as [`Location`] shows it.
pub(crate) fn mark(directory: &Path) -> Option<String> {
    let text = std::fs::read_to_string(directory.join(MARK)).ok()?;
    Some(text.trim_end().to_owned())
}

impl Database {
    /// With this directory, and everything else as it is when nothing is said.
    pub(crate) fn at(location: impl Into<Location>, node: impl Into<PathBuf>) -> Self {
        let store_postgres::Options { durability, writers, readers, vouched_timeline } =
            store_postgres::Options::default();
        Self {
            location: location.into(),
            password: None,
            bodies: None,
            node: node.into(),
            is_named: false,
            durability,
            connections: (writers, readers),
            vouched_timeline,
        }
    }

    /// The URL with the password in it.
    fn url(&self) -> String {
        let url = self.location.0.clone();
        let Some(Password(password)) = &self.password else { return url };
        let encoded: String = password.bytes().map(|octet| format!("%{octet:02X}")).collect();
        let mark = if url.contains('?') { '&' } else { '?' };
        format!("{url}{mark}password={encoded}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_url_has_no_user_and_no_password() {
        for (url, shown) in [
            ("postgres://one/mail", "postgres://one/mail"),
            ("postgres://u:secret@one:1,two:2/mail?sslmode=disable", "postgres://one:1,two:2/mail"),
            ("postgresql://u:se@cr/et@one/mail?password=secret", "postgresql://one/mail"),
            ("postgres://u:secret@", "postgres://"),
            ("postgres://u:sec?ret@one/mail", "postgres://…"),
            ("postgres://u:s@ec#ret@one/mail", "postgres://…"),
            ("postgres://one/mail?user=u&password=sec@ret", "postgres://…"),
            ("postgress://u:secret@one/mail", "postgress://one/mail"),
            ("./mail@home", "./mail@home"),
        ] {
            let location = Location::from(url);
            assert_eq!(location.to_string(), shown);
            assert_eq!(format!("{location:?}"), shown);
        }
    }

    #[test]
    fn the_password_of_a_file_goes_into_the_url() {
        let mut database = Database::at("postgres://u@one/mail", "");
        assert_eq!(database.url(), "postgres://u@one/mail");
        database.password = Some(Password("a&b".into()));
        assert_eq!(database.url(), "postgres://u@one/mail?password=%61%26%62");
        database.location = Location::from("postgres://u@one/mail?sslmode=disable");
        assert_eq!(database.url(), "postgres://u@one/mail?sslmode=disable&password=%61%26%62");
        assert!(!format!("{database:?}").contains("a&b"));
    }
}
