//! Who the client is: the peer, the identity behind a login, and the promise that checks it.

use crate::shared::BoxFuture;
use imap::command::Secret;
use store::AccountId;

/// Where a connection comes from.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// TLS protects the connection.
    pub secure: bool,
    /// It comes from this machine.
    pub loopback: bool,
    /// STARTTLS is possible on it.
    pub starttls_offered: bool,
    /// `tls-exporter` channel binding data (RFC 9266).
    pub channel_binding: Option<Vec<u8>>,
    /// The address, for logs only.
    pub address: String,
}

/// Who has logged in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The account's name.
    pub name: String,
    /// The account.
    pub account: AccountId,
    /// The version of the account's row that let the user in.
    pub version: u64,
    /// Capabilities that are switched off for this user, besides those that are for everyone.
    pub without: Vec<String>,
}

/// Decides who may come in.
pub trait Authenticator: Send + Sync {
    /// The SASL mechanisms to offer to this peer; none in clear text except on loopback.
    fn mechanisms(&self, peer: &Peer) -> Vec<&'static str>;
    /// Whether LOGIN is possible for this peer; if not, LOGINDISABLED is listed.
    fn login_allowed(&self, peer: &Peer) -> bool;
    /// Checks a name and a password.
    fn login<'a>(
        &'a self,
        peer: &'a Peer,
        user: &'a [u8],
        password: &'a Secret,
    ) -> BoxFuture<'a, Result<Identity, AuthFailure>>;
    /// Begins a SASL exchange; `None` for a mechanism that is not offered.
    fn begin(&self, peer: &Peer, mechanism: &str) -> Option<Box<dyn Exchange>>;
}

/// A SASL exchange, server side.
pub trait Exchange: Send {
    /// Takes the client's answer; `None` at the start when there was no initial response.
    fn step<'a>(&'a mut self, answer: Option<&'a [u8]>) -> BoxFuture<'a, Step>;
}

/// What comes next in a SASL exchange.
pub enum Step {
    /// Send this and wait for an answer.
    Challenge(Vec<u8>),
    /// Proven.
    Done {
        /// Who it is.
        identity: Identity,
        /// The mechanism's last words, sent as a challenge that is answered by an empty line.
        last: Option<Vec<u8>>,
    },
    /// Not proven.
    Failed(AuthFailure),
}

/// Why a login failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthFailure {
    /// Wrong name or password: NO [AUTHENTICATIONFAILED].
    Credentials,
    /// Not what the mechanism says: BAD.
    Malformed(String),
    /// Cannot be checked just now: NO [UNAVAILABLE].
    Unavailable(String),
    /// This account may not come in from here: NO [AUTHORIZATIONFAILED].
    NotHere(String),
}
