//! The client's half of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS: messages in, messages out.
//!
//! Own code, as on the server's side: the exchange is three messages, and the cryptography is that of ring, which
//! TLS brings along; a SASL crate would bring a second set of it.
//!
//! # Invariants
//! - No I/O, no clock, no randomness: the nonce is given.
//! - The server's proof is compared in constant time, and without it nobody is logged in.
//! - Rounds below what RFC 7677 asks for are refused, and so are more than a login may cost.
//!
//! # Standards
//! RFC 5802, RFC 7677, RFC 5801 §4 (gs2-header), RFC 9266 (`tls-exporter`), RFC 4013 (SASLprep).

use super::SaslError;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;

/// RFC 7677 §4 asks for this many at least: with fewer, whoever plays the server could guess the password.
const ITERATIONS_MIN: u32 = 4096;

/// About half a second of work; a server that asks for more would hold the client up.
const ITERATIONS_MAX: u32 = 1_000_000;

const HASH_LEN: usize = digest::SHA256_OUTPUT_LEN;

/// What the client says about channel binding (`gs2-cbind-flag`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Binding<'a> {
    /// `n`: this connection has none.
    None,
    /// `y`: it has one, and the server has not offered to bind; a server that has, refuses.
    NotOffered,
    /// `p=tls-exporter`, with what it is.
    Exporter(&'a [u8]),
}

/// The exchange.
pub(super) struct Scram {
    gs2_header: &'static str,
    /// What `c=` carries: the header and the binding.
    bound: Vec<u8>,
    bare: String,
    nonce: String,
    password: String,
    state: State,
}

enum State {
    /// The first message is on its way.
    First,
    /// The proof is on its way; this is what the server's must be of.
    Proof { server_key: [u8; HASH_LEN], auth_message: String },
    /// The server has proved that it knows the password.
    Proven,
}

impl Scram {
    /// ```abnf
    /// client-first-message = gs2-header client-first-message-bare
    /// client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions]
    /// ```
    pub(super) fn new(
        user: &str,
        password: &[u8],
        binding: Binding<'_>,
        nonce: &str,
    ) -> Result<Self, SaslError> {
        let (gs2_header, octets) = match binding {
            Binding::None => ("n,,", None),
            Binding::NotOffered => ("y,,", None),
            Binding::Exporter(octets) => ("p=tls-exporter,,", Some(octets)),
        };
        let bound = [gs2_header.as_bytes(), octets.unwrap_or_default()].concat();
        let forbidden = SaslError::Unfit("a password in UTF-8 without control characters");
        let password = std::str::from_utf8(password).ok().and_then(prepared).ok_or(forbidden)?;
        let user = prepared(user).ok_or(SaslError::Unfit("a name without control characters"))?;
        let bare = format!("n={},r={nonce}", saslname(&user));
        let (nonce, state) = (nonce.to_owned(), State::First);
        Ok(Self { gs2_header, bound, bare, nonce, password, state })
    }

    pub(super) fn first(&self) -> Vec<u8> {
        [self.gs2_header, &self.bare].concat().into_bytes()
    }

    /// Answers what the server says.
    pub(super) fn respond(&mut self, message: &[u8]) -> Result<Vec<u8>, SaslError> {
        let text = std::str::from_utf8(message)
            .map_err(|_| SaslError::Malformed("a SCRAM message in UTF-8"))?;
        if let Some(error) = text.strip_prefix("e=") {
            return Err(SaslError::Refused(error.to_owned()));
        }
        match &self.state {
            State::First => self.prove(text),
            State::Proof { server_key, auth_message } => {
                let verifier = verifier(text)?;
                let key = hmac::Key::new(hmac::HMAC_SHA256, server_key);
                hmac::verify(&key, auth_message.as_bytes(), &verifier)
                    .map_err(|_| SaslError::ServerUnproven)?;
                self.state = State::Proven;
                Ok(Vec::new())
            }
            State::Proven => Err(SaslError::Malformed("no more than two SCRAM messages")),
        }
    }

    pub(super) fn is_proven(&self) -> bool {
        matches!(self.state, State::Proven)
    }

    /// ```abnf
    /// client-final-message = channel-binding "," nonce ["," extensions] "," proof
    /// ```
    fn prove(&mut self, server_first: &str) -> Result<Vec<u8>, SaslError> {
        let challenge = Challenge::parse(server_first, &self.nonce)?;
        let mut salted = [0; HASH_LEN];
        let (algorithm, password) = (pbkdf2::PBKDF2_HMAC_SHA256, self.password.as_bytes());
        pbkdf2::derive(algorithm, challenge.iterations, &challenge.salt, password, &mut salted);
        let client_key = hmac_sha256(&salted, b"Client Key");
        let server_key = hmac_sha256(&salted, b"Server Key");
        let bound = BASE64_STANDARD.encode(&self.bound);
        let without_proof = format!("c={bound},r={}", challenge.nonce);
        let auth_message = format!("{},{server_first},{without_proof}", self.bare);
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let mut proof = hmac_sha256(stored_key.as_ref(), auth_message.as_bytes());
        proof.iter_mut().zip(client_key).for_each(|(octet, key)| *octet ^= key);
        self.state = State::Proof { server_key, auth_message };
        Ok(format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)).into_bytes())
    }
}

/// The server's first message.
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl<'a> Challenge<'a> {
    /// ```abnf
    /// server-first-message = [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions]
    /// ```
    fn parse(text: &'a str, client_nonce: &str) -> Result<Self, SaslError> {
        let mut parts = text.split(',');
        let mut part = |name| parts.next().and_then(|part| part.strip_prefix(name));
        let nonce = part("r=")
            .filter(|nonce| nonce.len() > client_nonce.len() && nonce.starts_with(client_nonce))
            .ok_or(SaslError::Malformed("r= and a nonce that begins with the client's"))?;
        let salt = part("s=")
            .and_then(|salt| BASE64_STANDARD.decode(salt).ok())
            .filter(|salt| !salt.is_empty())
            .ok_or(SaslError::Malformed("s= and a salt in base64"))?;
        let iterations = part("i=")
            .and_then(|count| count.parse().ok())
            .filter(|count| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(count))
            .and_then(NonZeroU32::new)
            .ok_or(SaslError::Malformed("i= and 4096 to 1000000 rounds"))?;
        Ok(Self { nonce, salt, iterations })
    }
}

/// `server-final-message = (server-error / verifier) ["," extensions]`
fn verifier(text: &str) -> Result<Vec<u8>, SaslError> {
    let verifier = text.split(',').next().and_then(|part| part.strip_prefix("v="));
    let octets = verifier.and_then(|verifier| BASE64_STANDARD.decode(verifier).ok());
    octets.ok_or(SaslError::Malformed("v= and the server's proof in base64"))
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; HASH_LEN] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut out = [0; HASH_LEN];
    out.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// The text as SASLprep wants it; nothing when it is forbidden or empty.
fn prepared(text: &str) -> Option<String> {
    stringprep::saslprep(text).ok().map(std::borrow::Cow::into_owned).filter(|t| !t.is_empty())
}

/// `saslname = 1*(value-safe-char / "=2C" / "=3D")`
pub(super) fn saslname(text: &str) -> String {
    text.replace('=', "=3D").replace(',', "=2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const CHALLENGE: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn scram(binding: Binding<'_>) -> Scram {
        Scram::new("user", b"pencil", binding, NONCE).unwrap()
    }

    #[test]
    fn the_example_of_rfc_7677_logs_in() {
        let mut scram = scram(Binding::None);
        assert_eq!(scram.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let proof = scram.respond(CHALLENGE.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(proof).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(!scram.is_proven());
        let last = scram.respond(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
        assert!(last.is_empty() && scram.is_proven());
        assert!(scram.respond(b"v=x").is_err());
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_found_out() {
        let mut known = scram(Binding::None);
        known.respond(CHALLENGE.as_bytes()).unwrap();
        let last = b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(known.respond(last), Err(SaslError::ServerUnproven));
        assert!(!known.is_proven());
        let mut short = scram(Binding::None);
        short.respond(CHALLENGE.as_bytes()).unwrap();
        assert_eq!(short.respond(b"v="), Err(SaslError::ServerUnproven));
        let refused = SaslError::Refused("invalid-proof".into());
        assert_eq!(short.respond(b"e=invalid-proof"), Err(refused));
    }

    #[test]
    fn the_binding_is_said_and_signed() {
        let mut plus = scram(Binding::Exporter(&[7; 32]));
        assert_eq!(plus.first(), b"p=tls-exporter,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let proof = String::from_utf8(plus.respond(CHALLENGE.as_bytes()).unwrap()).unwrap();
        let bound = BASE64_STANDARD.encode([&b"p=tls-exporter,,"[..], &[7; 32]].concat());
        assert!(proof.starts_with(&format!("c={bound},r=")), "{proof}");
        assert!(scram(Binding::NotOffered).first().starts_with(b"y,,n=user"));
    }

    #[test]
    fn what_a_server_may_not_ask_is_refused() {
        let nonce = "rOprNGfwEbeRWgbNEkqOx";
        for challenge in [
            "r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096".to_owned(),
            "r=other,s=W22Z,i=4096".to_owned(),
            format!("m=x,r={nonce},s=W22Z,i=4096"),
            format!("r={nonce},s=,i=4096"),
            format!("r={nonce},s=W22Z,i=4095"),
            format!("r={nonce},s=W22Z,i=1000001"),
            format!("r={nonce},s=W22Z"),
            String::new(),
        ] {
            let answer = scram(Binding::None).respond(challenge.as_bytes());
            assert!(matches!(answer, Err(SaslError::Malformed(_))), "{challenge}");
        }
    }

    #[test]
    fn names_and_passwords_are_prepared() {
        let scram = Scram::new("a,b=\u{ad}c", "pass\u{a0}word".as_bytes(), Binding::None, "x");
        let scram = scram.unwrap();
        assert_eq!(scram.first(), b"n,,n=a=2Cb=3Dc,r=x");
        assert_eq!(scram.password, "pass word");
        for password in [&b"\xff"[..], b"", b"a\x07"] {
            assert!(Scram::new("u", password, Binding::None, "x").is_err());
        }
    }
}
