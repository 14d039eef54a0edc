//! Logging in: which way is taken, and what is said on it, without I/O.
//!
//! # Invariants
//! - The strongest way that both sides have is taken, and no weaker one is tried after it was refused.
//! - A password in clear is sent only where the server has nothing better.
//!
//! # Standards
//! RFC 4422 (SASL), RFC 4616 (PLAIN), RFC 5802 and RFC 7677 (SCRAM), RFC 7628 (OAUTHBEARER); XOAUTH2 as Google and
//! Microsoft describe it.

mod scram;

use crate::connection::Credentials;
use imap::command::Secret;
use scram::{Binding, Scram, saslname};
use std::fmt;

/// A SASL mechanism that this client knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Mechanism {
    /// The password is proved, the server proves that it knows it, and both that nobody stands in between.
    ScramSha256Plus,
    /// The password is proved, and the server proves that it knows it.
    ScramSha256,
    /// The password is sent.
    Plain,
    /// A token is sent (RFC 7628).
    OAuthBearer,
    /// A token is sent, in the form that was there before RFC 7628.
    XOAuth2,
}

impl Mechanism {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Plain => "PLAIN",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
        }
    }
}

/// Why an exchange came to nothing on this side.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SaslError {
    /// The server's message is not one of the mechanism; what was expected.
    Malformed(&'static str),
    /// The mechanism cannot say these credentials; what it could.
    Unfit(&'static str),
    /// The server ended the exchange; its word for why (RFC 5802 §7 `server-error-value`).
    Refused(String),
    /// The server has not proved that it knows the password: another may have answered in its place.
    ServerUnproven,
    /// The system gives no random numbers.
    NoRandom,
}

impl fmt::Display for SaslError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(expected) => {
                write!(f, "the login cannot go on: the server was expected to say {expected}")
            }
            Self::Unfit(expected) => write!(f, "the login needs {expected}"),
            Self::Refused(why) => write!(f, "the server ended the login: {why}"),
            Self::ServerUnproven => f.write_str(
                "the server did not prove that it knows the password: another may answer in its place",
            ),
            Self::NoRandom => f.write_str("the system gives no random numbers"),
        }
    }
}

impl std::error::Error for SaslError {}

/// A way to log in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Method {
    /// AUTHENTICATE with this mechanism.
    Authenticate(Mechanism),
    /// LOGIN: the password is sent.
    Login,
}

/// The strongest way that the server's capabilities leave for the credentials; `None` when there is none, or nobody
/// logs in.
///
/// `bound` says whether the connection has a channel binding.
#[must_use]
pub fn choose(credentials: &Credentials, capabilities: &[String], bound: bool) -> Option<Method> {
    let has = |name: &str| capabilities.iter().any(|known| known.eq_ignore_ascii_case(name));
    let offers = |mechanism: &&Mechanism| has(&format!("AUTH={}", mechanism.as_str()));
    let mechanisms: &[Mechanism] = match credentials {
        Credentials::Password { .. } if bound => {
            &[Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::Plain]
        }
        Credentials::Password { .. } => &[Mechanism::ScramSha256, Mechanism::Plain],
        Credentials::Token { .. } => &[Mechanism::OAuthBearer, Mechanism::XOAuth2],
        Credentials::None => &[],
    };
    let by_login = matches!(credentials, Credentials::Password { .. }) && !has("LOGINDISABLED");
    let found = mechanisms.iter().find(offers).copied().map(Method::Authenticate);
    found.or(by_login.then_some(Method::Login))
}

/// What an exchange is about, besides the credentials.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Context<'a> {
    /// The server's name, as connected to.
    pub host: &'a str,
    /// The port, as connected to.
    pub port: u16,
    /// The connection's `tls-exporter` channel binding (RFC 9266), if it has one.
    pub binding: Option<&'a [u8]>,
    /// Printable ASCII without comma that nobody can guess, new for each exchange.
    pub nonce: &'a str,
}

impl<'a> Context<'a> {
    /// An exchange with this server, over a connection without a channel binding: else set that as well.
    #[must_use]
    pub const fn new(host: &'a str, port: u16, nonce: &'a str) -> Self {
        Self { host, port, binding: None, nonce }
    }
}

/// One exchange: what the client says to what the server says.
pub struct Exchange {
    mechanism: Mechanism,
    initial: Secret,
    state: State,
}

enum State {
    /// Everything is in the first message.
    Plain,
    /// Likewise; what the server answers instead of OK says why not.
    Token(Option<String>),
    Scram(Box<Scram>),
}

impl Exchange {
    /// Begins an exchange.
    ///
    /// # Errors
    /// [`SaslError::Unfit`] when the mechanism cannot say the credentials.
    pub fn new(
        mechanism: Mechanism,
        credentials: &Credentials,
        context: &Context<'_>,
    ) -> Result<Self, SaslError> {
        let (initial, state) = match (mechanism, credentials) {
            (Mechanism::ScramSha256Plus, Credentials::Password { user, password }) => {
                let binding = context.binding.ok_or(SaslError::Unfit("a connection by TLS 1.3"))?;
                scram(user, password, Binding::Exporter(binding), context)?
            }
            (Mechanism::ScramSha256, Credentials::Password { user, password }) => {
                let binding = context.binding.map_or(Binding::None, |_| Binding::NotOffered);
                scram(user, password, binding, context)?
            }
            (Mechanism::Plain, Credentials::Password { user, password }) => {
                let (user, password) = (user.as_bytes(), password.0.as_slice());
                if [user, password].iter().any(|part| part.is_empty() || part.contains(&0)) {
                    return Err(SaslError::Unfit("a name and a password without NUL"));
                }
                ([b"\0", user, b"\0", password].concat(), State::Plain)
            }
            (Mechanism::OAuthBearer | Mechanism::XOAuth2, Credentials::Token { user, token }) => {
                (bearer(mechanism, user, token, context)?, State::Token(None))
            }
            _ => return Err(SaslError::Unfit("credentials of the mechanism's kind")),
        };
        Ok(Self { mechanism, initial: Secret(initial), state })
    }

    /// The mechanism.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The first message: with AUTHENTICATE where the server has SASL-IR, else to its first, empty challenge.
    #[must_use]
    pub fn initial(&self) -> Secret {
        self.initial.clone()
    }

    /// Answers a challenge, both decoded.
    ///
    /// # Errors
    /// When there is nothing to answer: cancel the exchange.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<Secret, SaslError> {
        match &mut self.state {
            State::Plain => Err(SaslError::Malformed("nothing after PLAIN's first message")),
            State::Token(None) => {
                self.state = State::Token(Some(String::from_utf8_lossy(challenge).into_owned()));
                // RFC 7628 §3.2.3 wants a single ^A; XOAUTH2 an empty answer.
                let dummy = self.mechanism == Mechanism::OAuthBearer;
                Ok(Secret(if dummy { vec![1] } else { Vec::new() }))
            }
            State::Token(Some(_)) => Err(SaslError::Malformed("NO after it has said why")),
            State::Scram(scram) => scram.respond(challenge).map(Secret),
        }
    }

    /// Says whether the server may be believed when it answers OK.
    ///
    /// # Errors
    /// [`SaslError::ServerUnproven`] when the mechanism wants a proof of it that has not come.
    pub fn finish(&self) -> Result<(), SaslError> {
        match &self.state {
            State::Scram(scram) if !scram.is_proven() => Err(SaslError::ServerUnproven),
            _ => Ok(()),
        }
    }

    /// Why a token was refused, as the server says it: JSON (RFC 7628 §3.2.2).
    #[must_use]
    pub fn complaint(&self) -> Option<&str> {
        match &self.state {
            State::Token(complaint) => complaint.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({})", self.mechanism.as_str())
    }
}

fn scram(
    user: &str,
    password: &Secret,
    binding: Binding<'_>,
    context: &Context<'_>,
) -> Result<(Vec<u8>, State), SaslError> {
    let scram = Scram::new(user, &password.0, binding, context.nonce)?;
    Ok((scram.first(), State::Scram(Box::new(scram))))
}

/// ```abnf
/// client-resp = gs2-header kvsep *kvpair kvsep
/// kvpair = key "=" value kvsep
/// ```
fn bearer(
    mechanism: Mechanism,
    user: &str,
    token: &Secret,
    context: &Context<'_>,
) -> Result<Vec<u8>, SaslError> {
    let printable = !token.0.is_empty() && token.0.iter().all(u8::is_ascii_graphic);
    let token = std::str::from_utf8(&token.0).ok().filter(|_| printable);
    let token = token.ok_or(SaslError::Unfit("a token of printable ASCII"))?;
    if user.contains(char::is_control) {
        return Err(SaslError::Unfit("a name without control characters"));
    }
    let head = if mechanism == Mechanism::OAuthBearer {
        let (host, port) = (context.host, context.port);
        format!("n,a={},\x01host={host}\x01port={port}", saslname(user))
    } else {
        format!("user={user}")
    };
    Ok(format!("{head}\x01auth=Bearer {token}\x01\x01").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: Context<'_> =
        Context { host: "server.example.com", port: 143, binding: None, nonce: "abc" };

    fn password() -> Credentials {
        Credentials::Password { user: "tim".into(), password: Secret(b"tanstaaftanstaaf".to_vec()) }
    }

    fn token() -> Credentials {
        let token = Secret(b"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==".to_vec());
        Credentials::Token { user: "user@example.com".into(), token }
    }

    fn chosen(credentials: &Credentials, capabilities: &str, bound: bool) -> Option<&'static str> {
        let list: Vec<String> = capabilities.split(' ').map(str::to_owned).collect();
        choose(credentials, &list, bound).map(|way| match way {
            Method::Authenticate(mechanism) => mechanism.as_str(),
            Method::Login => "LOGIN",
        })
    }

    #[test]
    fn the_strongest_way_is_taken() {
        let all = "AUTH=PLAIN auth=scram-sha-256 AUTH=SCRAM-SHA-256-PLUS AUTH=XOAUTH2";
        assert_eq!(chosen(&password(), all, true), Some("SCRAM-SHA-256-PLUS"));
        assert_eq!(chosen(&password(), all, false), Some("SCRAM-SHA-256"));
        assert_eq!(chosen(&password(), "AUTH=PLAIN LOGINDISABLED", true), Some("PLAIN"));
        assert_eq!(chosen(&password(), "IMAP4rev1 AUTH=XOAUTH2", true), Some("LOGIN"));
        assert_eq!(chosen(&password(), "LOGINDISABLED STARTTLS", false), None);
        assert_eq!(chosen(&token(), all, true), Some("XOAUTH2"));
        let both = "AUTH=XOAUTH2 AUTH=OAUTHBEARER";
        assert_eq!(chosen(&token(), both, false), Some("OAUTHBEARER"));
        assert_eq!(chosen(&token(), "AUTH=PLAIN", false), None);
        assert_eq!(chosen(&Credentials::None, all, true), None);
    }

    #[test]
    fn plain_is_that_of_rfc_4616() {
        let mut exchange = Exchange::new(Mechanism::Plain, &password(), &CONTEXT).unwrap();
        assert_eq!(exchange.initial().0, b"\0tim\0tanstaaftanstaaf");
        assert!(exchange.finish().is_ok() && exchange.respond(b"what").is_err());
        let nul = Credentials::Password { user: "a\0b".into(), password: Secret(b"x".to_vec()) };
        assert!(Exchange::new(Mechanism::Plain, &nul, &CONTEXT).is_err());
    }

    #[test]
    fn tokens_are_those_of_rfc_7628_and_of_google() {
        let mut exchange = Exchange::new(Mechanism::OAuthBearer, &token(), &CONTEXT).unwrap();
        assert_eq!(
            String::from_utf8(exchange.initial().0).unwrap(),
            "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01\
             auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
        );
        assert_eq!(exchange.respond(b"{\"status\":\"invalid_token\"}").unwrap().0, b"\x01");
        assert_eq!(exchange.complaint(), Some("{\"status\":\"invalid_token\"}"));
        assert!(exchange.respond(b"again").is_err());
        let mut exchange = Exchange::new(Mechanism::XOAuth2, &token(), &CONTEXT).unwrap();
        assert_eq!(
            String::from_utf8(exchange.initial().0).unwrap(),
            "user=user@example.com\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
        );
        assert_eq!(exchange.respond(b"{}").unwrap().0, b"");
        let split = Credentials::Token { user: "u".into(), token: Secret(b"a\x01b".to_vec()) };
        assert!(Exchange::new(Mechanism::XOAuth2, &split, &CONTEXT).is_err());
        assert!(Exchange::new(Mechanism::XOAuth2, &password(), &CONTEXT).is_err());
    }

    #[test]
    fn a_binding_that_was_not_offered_is_told_and_an_ok_without_proof_is_not_believed() {
        let bound = Context { binding: Some(&[1; 32]), ..CONTEXT };
        let told = |mechanism, context| {
            let exchange = Exchange::new(mechanism, &password(), context).unwrap();
            assert_eq!(exchange.finish(), Err(SaslError::ServerUnproven));
            String::from_utf8(exchange.initial().0).unwrap()
        };
        assert_eq!(told(Mechanism::ScramSha256, &CONTEXT), "n,,n=tim,r=abc");
        assert_eq!(told(Mechanism::ScramSha256, &bound), "y,,n=tim,r=abc");
        assert_eq!(told(Mechanism::ScramSha256Plus, &bound), "p=tls-exporter,,n=tim,r=abc");
        assert!(Exchange::new(Mechanism::ScramSha256Plus, &password(), &CONTEXT).is_err());
    }
}
