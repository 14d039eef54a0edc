//! NAMESPACE (RFC 2342): everything is personal, with no prefix and `/` between levels.

use crate::session::{Reply, Session};
use crate::shared::Sink;
use imap::encode;
use imap::namespace::{Namespace, Namespaces};

impl Session {
    /// Says where mailboxes are.
    pub(crate) fn namespace<S: Sink>(sink: &mut S) -> Reply {
        let everything = Namespace { prefix: String::new(), delimiter: Some('/') };
        let all = Namespaces { personal: vec![everything], ..Namespaces::default() };
        encode::namespaces(sink.buffer(), &all);
        Reply::ok("That is all")
    }
}
