//! Who the server is.
//!
//! # Standards
//! RFC 2971 (ID).

use super::Connection;
use crate::error::Error;
use crate::quirks::Quirks;
use imap::command::{CommandBody, IdField};
use imap::response::Response;

impl Connection {
    /// Asks the server who it is, where it has ID, and answers what is known of it.
    ///
    /// # Errors
    /// What may end the connection; a server that refuses to say is one that is not known.
    pub async fn identify(&mut self) -> Result<Quirks, Error> {
        if self.id.is_none() && self.has("ID") {
            let own = |name: &str, value: &str| (name.into(), Some(value.into()));
            let fields = vec![
                own("name", env!("CARGO_PKG_NAME")),
                own("version", env!("CARGO_PKG_VERSION")),
            ];
            let answer = self.ask(CommandBody::Id(Some(fields))).await?;
            self.id = answer.untagged.into_iter().find_map(|response| match response {
                Response::Id(fields) => fields,
                _ => None,
            });
        }
        Ok(self.quirks())
    }

    /// What is known of the server, by what it has said so far: see [`Connection::identify`].
    #[must_use]
    pub fn quirks(&self) -> Quirks {
        Quirks::of(self.id(), self.capabilities(), self.core.greeting_text())
    }

    /// What the server has said of itself, once it was asked and has said something.
    #[must_use]
    pub fn id(&self) -> Option<&[IdField]> {
        self.id.as_deref()
    }
}
