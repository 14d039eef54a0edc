//! Another IMAP server: how to get in, the same for each command that goes there.
//!
//! # Invariants
//! - The password comes from a file, the URL or the environment, and is never asked for.
//! - Without TLS it goes to this very machine only, unless `--insecure` says otherwise.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use client::{Connection, Credentials, Error, Options, Place, Tls};

/// Where the password is when no file is named.
const PASSWORD: &str = "HIGHWATER_PASSWORD";
/// Passwords are shorter.
const PASSWORD_BYTES_MAX: u64 = 4096;
/// How long a server may be silent while it owes an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How to get in.
#[derive(Args, Clone, Debug)]
pub(crate) struct RemoteArgs {
    /// Read the password from the first line of FILE; otherwise HIGHWATER_PASSWORD has it.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file alone: an authority's, or the server's own.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Trust any certificate, and go without TLS if need be: whoever stands in between reads the password.
    #[arg(long)]
    insecure: bool,
}

/// A way in that can be used again and again.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// The server.
    pub(crate) place: Place,
    /// Who asks.
    pub(crate) credentials: Credentials,
    /// How.
    pub(crate) options: Options,
}

impl RemoteArgs {
    /// The way in to this place.
    pub(crate) fn door(&self, place: &Place, patience: Duration) -> Result<Door> {
        let (user, password) = self.login(place)?;
        let options = Options::new(self.tls(place)?);
        let options = options.with_insecure(self.insecure).with_patience(patience);
        let mut place = place.clone();
        place.password = None;
        Ok(Door { place, credentials: Credentials::password(user, password), options })
    }

    /// The way in to this place for dialogues, the user and the password.
    pub(crate) fn dialogue_door(
        &self,
        place: &Place,
        patience: Duration,
    ) -> Result<(client::dialogue::Door, String, String)> {
        let (user, password) = self.login(place)?;
        let tls = self.tls(place)?;
        let place = Place { password: None, ..place.clone() };
        let door = client::dialogue::Door { place, tls, insecure: self.insecure, patience };
        Ok((door, user, password))
    }

    /// The user and the password.
    fn login(&self, place: &Place) -> Result<(String, String)> {
        let user = place.user.clone().context("name the user in the URL: imaps://user@host")?;
        if let Some(file) = &self.password_file {
            return Ok((user, first_line(file)?));
        }
        let password = place.password.clone().or_else(|| std::env::var(PASSWORD).ok());
        let missing = || format!("there is no password: set {PASSWORD} or name a --password-file");
        Ok((user, password.with_context(missing)?))
    }

    /// Whom to trust; nobody need be where no TLS is needed.
    fn tls(&self, place: &Place) -> Result<Option<Tls>> {
        Ok(match &self.ca {
            Some(file) => Some(Tls::only(file)?),
            None if self.insecure => Some(Tls::unverified()?),
            None if place.is_here() && !place.implicit_tls => None,
            None => Some(Tls::system()?),
        })
    }
}

impl Door {
    /// Connects and logs in.
    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        Connection::open(&self.place, &self.credentials, &self.options).await
    }
}

fn first_line(file: &Path) -> Result<String> {
    let unreadable = || format!("the password file {} cannot be read", file.display());
    let opened = std::fs::File::open(file).with_context(unreadable)?;
    let mut line = String::new();
    let mut octets = BufReader::new(opened.take(PASSWORD_BYTES_MAX));
    octets.read_line(&mut line).with_context(unreadable)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("the password file {} has nothing in its first line", file.display());
    }
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password_in(octets: &[u8]) -> Result<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), octets).unwrap();
        first_line(file.path())
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file_and_not_nothing() {
        assert_eq!(password_in(b"two words \r\nsecond\n").unwrap(), "two words ");
        assert_eq!(password_in(b"no end").unwrap(), "no end");
        for wrong in [&b""[..], b"\nsecret\n", b"\xff\xfe\n"] {
            assert!(password_in(wrong).is_err(), "{wrong:?}");
        }
    }
}
