//! Quota roots and the resources that they limit.
//!
//! # Standards
//! RFC 9208 §3 and §5.

use std::fmt;

/// The name of a quota root: any octets without NUL, which may be none; opaque to clients (RFC 9208 §3.2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QuotaRoot(pub Vec<u8>);

/// What a quota root limits (RFC 9208 §5).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Resource {
    /// `STORAGE`: space, in units of 1024 octets.
    Storage,
    /// `MESSAGE`: the number of messages.
    Message,
    /// `MAILBOX`: the number of mailboxes.
    Mailbox,
    /// Another one: an atom in capitals that is none of the above.
    Other(Box<str>),
}

impl Resource {
    const KNOWN: [Self; 3] = [Self::Storage, Self::Message, Self::Mailbox];

    /// The resource's name on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Storage => "STORAGE",
            Self::Message => "MESSAGE",
            Self::Mailbox => "MAILBOX",
            Self::Other(name) => name,
        }
    }

    /// The resource with this name, in any case.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name).to_ascii_uppercase();
        let known = Self::KNOWN.into_iter().find(|resource| resource.as_str() == name);
        known.unwrap_or_else(|| Self::Other(name.into()))
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much of a resource is used and how much may be (RFC 9208 §4.2.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResourceUsage {
    /// The resource, whose unit both numbers are in.
    pub resource: Resource,
    /// What is used, up to 2^63−1.
    pub used: u64,
    /// The limit, up to 2^63−1.
    pub limit: u64,
}
