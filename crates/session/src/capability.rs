//! What the server lists in CAPABILITY, and what is switched off.
//!
//! A name stands here only when everything that its RFC asks of a server is built. Switched off it is for all,
//! by the server's configuration, or for one user, once they have logged in.
//!
//! # Standards
//! RFC 3501 §6.1.1 and §7.2.1; RFC 7162 §3.1.1 and §3.2.2 [S-1, S-2, S-3]. ENABLE changes nothing here [S-6].

use crate::account::{Identity, Peer};
use crate::session::Session;
use crate::shared::Shared;
use std::fmt::Write as _;

/// Listed besides `IMAP4rev1` and what depends on the peer or has a value.
const NAMES: [&str; 29] = [
    "LITERAL+",
    "SASL-IR",
    "ID",
    "ENABLE",
    "IDLE",
    "NAMESPACE",
    "CHILDREN",
    "UNSELECT",
    "UIDPLUS",
    "MOVE",
    "ESEARCH",
    "SEARCHRES",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "STATUS=SIZE",
    "MULTIAPPEND",
    "WITHIN",
    "SAVEDATE",
    "CONDSTORE",
    "QRESYNC",
    "ACL",
    "RIGHTS=texk",
    "LIST-MYRIGHTS",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
    "QUOTA=RES-MAILBOX",
];

/// Listed with a value.
const APPENDLIMIT: &str = "APPENDLIMIT";

/// The names that can be switched off for a user.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().chain([APPENDLIMIT])
}

impl Session {
    /// Whether the capability is switched on for this client.
    pub(crate) fn offers(&self, name: &str) -> bool {
        self.shared.offers(name, self.account())
    }

    /// Whether mailboxes have mod-sequences for this client: QRESYNC alone is enough [S-4]. Without either,
    /// every mailbox is one that answers NOMODSEQ [S-7, S-36].
    pub(crate) fn has_mod_seqs(&self) -> bool {
        self.offers("CONDSTORE") || self.offers("QRESYNC")
    }
}

impl Shared {
    fn offers(&self, name: &str, user: Option<&Identity>) -> bool {
        let own = user.map_or(&[][..], |user| &user.without);
        !self.config.without.iter().chain(own).any(|off| off.eq_ignore_ascii_case(name))
    }

    /// The text of CAPABILITY for this peer, and for this user once somebody has logged in.
    pub(crate) fn capabilities(&self, peer: &Peer, user: Option<&Identity>) -> String {
        let mut text = String::from("IMAP4rev1");
        let mut add = |name: &str| {
            if self.offers(name, user) {
                text.push(' ');
                text.push_str(name);
            }
        };
        if user.is_none() {
            if peer.starttls_offered && !peer.secure {
                add("STARTTLS");
            }
            if !self.authenticator.login_allowed(peer) {
                add("LOGINDISABLED");
            }
            for mechanism in self.authenticator.mechanisms(peer) {
                add(&format!("AUTH={mechanism}"));
            }
        }
        NAMES.into_iter().for_each(&mut add);
        if self.offers(APPENDLIMIT, user) {
            let _ = write!(text, " {APPENDLIMIT}={}", self.config.limits.message_bytes_max);
        }
        text
    }
}
