//! NAMESPACE (RFC 2342).

use crate::names::{OTHERS, SHARED};
use crate::session::{Reply, Session};
use crate::shared::Sink;
use imap::encode;
use imap::namespace::{Namespace, Namespaces};

impl Session {
    /// Says where mailboxes are: the user's own without a prefix, those of others and of nobody below theirs.
    pub(crate) fn namespace<S: Sink>(sink: &mut S) -> Reply {
        let below = |prefix| vec![Namespace { prefix, delimiter: Some('/') }];
        let all = Namespaces {
            personal: below(String::new()),
            others: below(format!("{OTHERS}/")),
            shared: below(format!("{SHARED}/")),
        };
        encode::namespaces(sink.buffer(), &all);
        Reply::ok("That is all")
    }
}
