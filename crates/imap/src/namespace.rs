//! Where mailboxes are, by whom they belong to.
//!
//! # Standards
//! RFC 2342.

/// A namespace: the prefix of its names, decoded, and the hierarchy delimiter, `None` for NIL (RFC 2342 §5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespace {
    /// What its names begin with, a delimiter at the end included; empty for all other names.
    pub prefix: String,
    /// What stands between the levels of a name.
    pub delimiter: Option<char>,
}

/// The namespaces of NAMESPACE (RFC 2342 §5); an empty list is NIL.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Namespaces {
    /// The user's own.
    pub personal: Vec<Namespace>,
    /// Other users'.
    pub others: Vec<Namespace>,
    /// Shared ones.
    pub shared: Vec<Namespace>,
}
