//! Logging in over a connection.
//!
//! # Standards
//! RFC 3501 §6.2.2 and §6.2.3, RFC 4959 (SASL-IR).

use super::{Connection, Credentials};
use crate::error::Error;
use crate::place::Place;
use crate::sasl::{self, Context, Exchange, Method, SaslError};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use imap::command::{CommandBody, Secret};
use imap::encode::Status;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::timeout;

impl Connection {
    /// Logs in by the strongest way that the server has.
    pub(super) async fn log_in(
        &mut self,
        place: &Place,
        credentials: &Credentials,
    ) -> Result<(), Error> {
        self.may_tell_secrets()?;
        if self.core.greeting() == Some(Status::PreAuth) {
            return Ok(());
        }
        let bound = self.binding.is_some();
        match (sasl::choose(credentials, self.capabilities(), bound), credentials) {
            (Some(Method::Authenticate(mechanism)), _) => {
                let nonce = nonce()?;
                let binding = self.binding.as_deref();
                let (host, port) = (place.host.as_str(), place.port);
                let context = Context { host, port, binding, nonce: &nonce };
                let exchange = Exchange::new(mechanism, credentials, &context)?;
                self.exchange(exchange).await?;
            }
            (Some(Method::Login), Credentials::Password { user, password }) => {
                let (user, password) = (user.as_bytes().to_vec(), password.clone());
                self.core.forget_capabilities();
                self.run(CommandBody::Login { user, password }).await?;
            }
            (_, Credentials::Token { .. }) => return Err(Error::Lacks("OAUTHBEARER or XOAUTH2")),
            _ => return Err(Error::Lacks("a way to log in with a password")),
        }
        self.learn_capabilities().await
    }

    fn may_tell_secrets(&self) -> Result<(), Error> {
        let lacks = Error::Lacks("TLS, without which no password and no token is sent");
        if self.trusted { Ok(()) } else { Err(lacks) }
    }

    /// Logs in by a mechanism of one's own choice, on a connection that was opened with [`Credentials::None`].
    ///
    /// # Errors
    /// As [`Connection::open`]. After [`Error::Sasl`] the server is not to be trusted: close the connection.
    pub async fn authenticate(&mut self, exchange: Exchange) -> Result<(), Error> {
        self.exchange(exchange).await?;
        self.learn_capabilities().await
    }

    async fn exchange(&mut self, mut exchange: Exchange) -> Result<(), Error> {
        self.may_tell_secrets()?;
        let mechanism = exchange.mechanism().as_str().to_owned();
        let mut initial = Some(exchange.initial());
        let at_once = if self.has("SASL-IR") { initial.take() } else { None };
        self.core.forget_capabilities();
        let ticket = self.submit(CommandBody::Authenticate { mechanism, initial: at_once })?;
        let answer = loop {
            if let Some(answer) = self.core.take_answer(ticket) {
                break answer;
            }
            if let Some(challenge) = self.core.take_continuation() {
                let response = match initial.take() {
                    Some(initial) => Ok(initial),
                    None => respond(&mut exchange, &challenge),
                };
                match response {
                    Ok(response) => {
                        self.core.submit_line(BASE64_STANDARD.encode(response.0).as_bytes());
                    }
                    Err(error) => {
                        self.core.submit_line(b"*");
                        self.answer(ticket).await?;
                        return Err(error.into());
                    }
                }
                continue;
            }
            self.alive()?;
            let step = timeout(self.patience, self.step());
            step.await.map_err(|_| Error::TimedOut)??;
        };
        match (answer.ok(), exchange.complaint()) {
            (Ok(_), _) => Ok(exchange.finish()?),
            (Err(Error::Refused(answer)), Some(complaint)) => {
                Err(Error::TokenRefused { complaint: complaint.to_owned(), answer })
            }
            (Err(error), _) => Err(error),
        }
    }
}

/// Answers a challenge as it was sent.
fn respond(exchange: &mut Exchange, challenge: &[u8]) -> Result<Secret, SaslError> {
    let challenge = BASE64_STANDARD.decode(challenge.trim_ascii());
    exchange.respond(&challenge.map_err(|_| SaslError::Malformed("a challenge in base64"))?)
}

/// 144 bits that nobody can guess, without the comma that SCRAM forbids.
fn nonce() -> Result<String, SaslError> {
    let mut octets = [0; 18];
    SystemRandom::new().fill(&mut octets).map_err(|_| SaslError::NoRandom)?;
    Ok(BASE64_STANDARD.encode(octets))
}
