//! LOGIN (RFC 3501 §6.2.3), and what every successful login does.

use crate::account::Identity;
use crate::refusal::{Refusal, Stop};
use crate::session::{Login, Reply, Session};
use crate::shared::Event;
use imap::command::Secret;
use imap::encode::Code;
use std::sync::Arc;

impl Session {
    /// Checks name and password, where passwords may be sent at all.
    pub(crate) async fn log_in(&mut self, user: &[u8], password: &Secret) -> Result<Reply, Stop> {
        let shared = Arc::clone(&self.shared);
        if !shared.authenticator.login_allowed(&self.peer) {
            let text = "LOGIN needs TLS: send STARTTLS first, or connect to the TLS port";
            return Err(Refusal::coded(Code::PrivacyRequired, text).into());
        }
        match shared.authenticator.login(&self.peer, user, password).await {
            Ok(identity) => self.enter(identity).await,
            Err(failure) => {
                shared.observer.count(Event::LoginFailed);
                Err(Refusal::from(failure).into())
            }
        }
    }

    /// Lets the client in, with the capabilities that it has now.
    pub(crate) async fn enter(&mut self, identity: Identity) -> Result<Reply, Stop> {
        let account = self.shared.store.account(identity.account).await?;
        let directory = self.shared.store.directory().await?;
        self.login = Some(Login { identity, account, directory });
        self.framer.set_limits(self.shared.config.limits);
        let code = Code::Capability(self.shared.capabilities(&self.peer, self.account()));
        Ok(Reply::ok("Welcome").code(code))
    }
}
