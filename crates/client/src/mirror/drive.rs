//! A mirror driven over a connection.

use super::{Abilities, Delta, Mirror, Step};
use crate::connection::Connection;
use crate::error::Error;
use std::time::Duration;

impl Mirror {
    /// Catches up over a connection that is logged in and has nothing selected.
    ///
    /// # Errors
    /// What ends the connection; [`Error::Refused`] when the server refuses a command, above all EXAMINE of a mailbox
    /// that is not there, and [`Error::Protocol`] when it contradicts itself.
    pub async fn sync(&mut self, connection: &mut Connection) -> Result<Delta, Error> {
        let abilities = Abilities {
            qresync: connection.has("QRESYNC") && connection.quirks().qresync,
            condstore: connection.has("CONDSTORE"),
        };
        let step = if connection.is_enabled("QRESYNC") {
            self.begin_enabled()
        } else {
            self.begin(abilities)
        };
        self.follow(step, connection).await
    }

    /// Waits with IDLE until others have done something, or the time is over, and catches up.
    ///
    /// # Errors
    /// As [`Mirror::sync`]; [`Error::Lacks`] without IDLE.
    pub async fn wait(
        &mut self,
        connection: &mut Connection,
        at_most: Duration,
    ) -> Result<Delta, Error> {
        let answer = connection.idle(at_most).await?;
        let step = self.take(&answer);
        self.follow(step, connection).await
    }

    async fn follow(&mut self, first: Step, connection: &mut Connection) -> Result<Delta, Error> {
        let mut step = first;
        loop {
            match step {
                Step::Ask(body) => {
                    let answer = connection.ask(body).await?;
                    step = self.take(&answer);
                    // A refusal is told as one, with its code.
                    if matches!(step, Step::Stuck(_)) {
                        answer.ok()?;
                    }
                }
                Step::Level(delta) => return Ok(delta),
                Step::Stuck(why) => return Err(Error::Protocol(why)),
            }
        }
    }
}
