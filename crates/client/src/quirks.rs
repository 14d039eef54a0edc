//! What is known of servers beyond what they list.
//!
//! What does no harm is done for all servers, known or not: codes without text and HIGHESTMODSEQ 0 are understood,
//! CHANGEDSINCE 0 and `*` are not sent, and a conditional STORE takes a proof. The table says what a program may
//! spare itself, or has to do, on top of that.
//!
//! # Invariants
//! - What nobody knows is taken for the worst: an unknown server's conditional STORE is not exact.
//! - Only ID makes a server one whose conditional STORE is exact: greetings and capabilities are copied too easily.
//!
//! # Standards
//! RFC 2971 (ID), which says that clients must not change their behaviour by it; what is here changes no command's
//! meaning.

use imap::command::IdField;

/// A server that is known by name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Server {
    /// This workspace's own.
    Highwater,
    /// Dovecot.
    Dovecot,
    /// Cyrus IMAP.
    Cyrus,
    /// Gmail and Google Workspace.
    Gmail,
    /// iCloud Mail.
    ICloud,
    /// `WildDuck`, and the services that run it.
    WildDuck,
    /// Any other.
    Other,
}

/// What is known of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Quirks {
    /// Which server it is.
    pub server: Server,
    /// A conditional STORE tests and writes in one step, so that of two with one condition one wins.
    pub exact_store: bool,
    /// A condition that is HIGHESTMODSEQ itself may pass twice: to claim a message, change another first, so that
    /// HIGHESTMODSEQ has moved past it.
    pub bump_before_claim: bool,
    /// MODIFIED names those who lost.
    pub names_losers: bool,
    /// QRESYNC, where listed, is to be relied on.
    pub qresync: bool,
    /// `1:*` with VANISHED leaves out the highest UIDs when they are gone: 1:4294967295 does not.
    pub star_misses_vanished: bool,
}

/// A server, what gives it away, and what is known of it.
struct Known {
    /// How the `name` of ID begins, in lower case.
    id: &'static str,
    /// A capability that nobody else lists.
    capability: Option<&'static str>,
    /// What the greeting holds, in lower case.
    greeting: Option<&'static str>,
    quirks: Quirks,
}

const OTHER: Quirks = Quirks {
    server: Server::Other,
    exact_store: false,
    bump_before_claim: false,
    names_losers: true,
    qresync: true,
    star_misses_vanished: false,
};

const KNOWN: [Known; 6] = [
    Known {
        id: "highwater",
        capability: None,
        greeting: None,
        quirks: Quirks { server: Server::Highwater, exact_store: true, ..OTHER },
    },
    // A write that would change nothing is dropped before its condition is tested, and a condition that is the
    // session's own HIGHESTMODSEQ is tested before the lock is taken (2.3.19, and 2.4 as of 2026).
    Known {
        id: "dovecot",
        capability: None,
        greeting: Some("dovecot"),
        quirks: Quirks { server: Server::Dovecot, bump_before_claim: true, ..OTHER },
    },
    // Issue 6071 of cyrus-imapd: repaired in 2026.
    Known {
        id: "cyrus",
        capability: None,
        greeting: Some("cyrus imap"),
        quirks: Quirks { server: Server::Cyrus, star_misses_vanished: true, ..OTHER },
    },
    Known {
        id: "gimap",
        capability: Some("X-GM-EXT-1"),
        greeting: Some("gimap ready"),
        quirks: Quirks { server: Server::Gmail, qresync: false, ..OTHER },
    },
    // ENABLED has not come for years, and VANISHED was malformed.
    Known {
        id: "icloud",
        capability: Some("XAPPLELITERAL"),
        greeting: None,
        quirks: Quirks { server: Server::ICloud, qresync: false, ..OTHER },
    },
    // Issue 770 of wildduck.
    Known {
        id: "wildduck",
        capability: None,
        greeting: Some("wildduck ready"),
        quirks: Quirks { server: Server::WildDuck, names_losers: false, ..OTHER },
    },
];

impl Quirks {
    /// What is known of the server that says this of itself; what ID says counts most, then what it lists, then how it
    /// greets.
    #[must_use]
    pub fn of(id: Option<&[IdField]>, capabilities: &[String], greeting: &str) -> Self {
        let mut fields = id.unwrap_or_default().iter();
        let name = fields.find(|(field, _)| field.eq_ignore_ascii_case(b"name"));
        let name = name.and_then(|(_, value)| value.as_deref()).map(<[u8]>::to_ascii_lowercase);
        let greeting = greeting.to_ascii_lowercase();
        let named = |known: &&Known| {
            name.as_ref().is_some_and(|name| name.starts_with(known.id.as_bytes()))
        };
        let lists = |known: &&Known| {
            let special = |special| capabilities.iter().any(|c| c.eq_ignore_ascii_case(special));
            known.capability.is_some_and(special)
        };
        let greets = |known: &&Known| known.greeting.is_some_and(|words| greeting.contains(words));
        let found = KNOWN.iter().find(named);
        let found = found.or_else(|| KNOWN.iter().find(lists));
        found.or_else(|| KNOWN.iter().find(greets)).map_or(OTHER, |known| known.quirks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: Option<&str>, capabilities: &str, greeting: &str) -> Quirks {
        let id = name.map(|name| {
            let field = |name: &str, value: &str| (name.into(), Some(value.into()));
            vec![field("version", "1"), field("Name", name)]
        });
        let capabilities: Vec<String> =
            capabilities.split_whitespace().map(str::to_owned).collect();
        Quirks::of(id.as_deref(), &capabilities, greeting)
    }

    #[test]
    fn servers_are_known_by_what_they_say() {
        assert_eq!(of(None, "IMAP4rev1 QRESYNC", "ready"), OTHER);
        assert_eq!(of(None, "", "Dovecot (Debian) ready.").server, Server::Dovecot);
        let cyrus = "mail.example Cyrus IMAP 3.8.2-Debian server ready";
        assert!(of(None, "", cyrus).star_misses_vanished);
        assert!(!of(None, "x-gm-ext-1", "").qresync);
        assert_eq!(of(None, "XAPPLEPUSHSERVICE XAPPLELITERAL", "x").server, Server::ICloud);
        assert!(!of(Some("WildDuck"), "", "").names_losers);
        assert!(of(Some("Dovecot"), "", "").bump_before_claim);
        assert_eq!(of(Some("Cyrus IMAPD"), "", "Dovecot ready").server, Server::Cyrus);
    }

    #[test]
    fn only_id_makes_a_store_exact() {
        assert!(of(Some("Highwater"), "", "").exact_store);
        assert!(!of(None, "", "Highwater is ready").exact_store);
        assert!(!of(Some("Dovecot"), "", "Highwater is ready").exact_store);
    }
}
