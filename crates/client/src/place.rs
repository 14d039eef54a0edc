//! Where a mailbox is: `imaps://user@host:993/Mailbox`.
//!
//! # Invariants
//! - A place that is shown, by Display or Debug, shows no password.
//!
//! # Standards
//! RFC 5092 (IMAP URLs) for the parts that name a server, a user and a mailbox; `imaps` as everybody writes it.

use std::fmt;
use std::str::FromStr;
use url::Url;

/// A server, and perhaps a user and a mailbox.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// TLS from the first octet (`imaps`), instead of STARTTLS where it is offered (`imap`).
    pub implicit_tls: bool,
    /// The host's name or address.
    pub host: String,
    /// The port: 993 for `imaps` and 143 for `imap` unless told.
    pub port: u16,
    /// The user, decoded.
    pub user: Option<String>,
    /// The password, decoded. Whoever lists processes can read it: files and environments are better places.
    pub password: Option<String>,
    /// The mailbox's name, decoded; nothing for none.
    pub mailbox: Option<String>,
}

/// Why a text is no place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlaceError(String);

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected imaps://user@host/Mailbox: {}", self.0)
    }
}

impl std::error::Error for PlaceError {}

impl Place {
    /// Whether it is this very machine, by the name that the place gives it.
    #[must_use]
    pub fn is_here(&self) -> bool {
        matches!(self.host.as_str(), "localhost" | "::1") || self.host.starts_with("127.")
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let url = Url::parse(text).map_err(|error| PlaceError(error.to_string()))?;
        let implicit_tls = match url.scheme() {
            "imaps" => true,
            "imap" => false,
            other => return Err(PlaceError(format!("{other} is another protocol"))),
        };
        let decoded = |part: &str| {
            let octets = percent(part);
            String::from_utf8(octets).map_err(|_| PlaceError("a name is not UTF-8".into()))
        };
        let given = |part: &str| (!part.is_empty()).then(|| decoded(part)).transpose();
        let host = url.host_str().ok_or_else(|| PlaceError("no host is named".into()))?;
        Ok(Self {
            implicit_tls,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(if implicit_tls { 993 } else { 143 }),
            user: given(url.username())?,
            password: url.password().map(decoded).transpose()?,
            mailbox: given(url.path().trim_start_matches('/'))?,
        })
    }
}

/// Without the password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.implicit_tls { "imaps" } else { "imap" };
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let mailbox = self.mailbox.as_deref().unwrap_or_default();
        write!(f, "{scheme}://{user}{}:{}/{mailbox}", self.host, self.port)
    }
}

/// Likewise.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

/// `%XX` as the octets that they stand for; what is none stands for itself.
fn percent(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(octet) => {
                out.push(octet);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_whole_and_shown_without_its_password() {
        let place: Place = "imaps://me%40here:se%2Fcret@mail.example:1993/Jobs/In".parse().unwrap();
        assert_eq!(place.user.as_deref(), Some("me@here"));
        assert_eq!(place.password.as_deref(), Some("se/cret"));
        assert_eq!(place.mailbox.as_deref(), Some("Jobs/In"));
        assert_eq!(place.to_string(), "imaps://me@here@mail.example:1993/Jobs/In");
        assert_eq!(format!("{place:?}"), "Place(imaps://me@here@mail.example:1993/Jobs/In)");
        let place: Place = "imap://127.0.0.1".parse().unwrap();
        assert_eq!((place.port, place.user, place.mailbox), (143, None, None));
        for wrong in ["", "host", "http://host/", "imap:///x", "imaps://h:99999"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
