//! The server's half of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS: messages in, messages out.
//!
//! Own code, because the exchange stops in its middle to read the account's row, which is async, while
//! the crate at hand (rsasl 2.3) asks for credentials in a synchronous callback; the cryptography is ring's.
//!
//! # Invariants
//! - No I/O, no clock, no randomness: the nonce and the keys are given.
//! - A client that was told of -PLUS and says it was not is refused (RFC 5802 §6: a downgrade).
//!
//! # Standards
//! RFC 5802, RFC 7677, RFC 5801 §4 (gs2-header), RFC 9266 (`tls-exporter`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use subtle::ConstantTimeEq as _;

use super::credentials::{Keys, hmac_sha256, sha256};

/// The one channel binding that is offered.
const BINDING_NAME: &str = "tls-exporter";

/// What the connection offers.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// The client chose the -PLUS mechanism.
    pub(crate) plus: bool,
    /// The connection's channel binding; with it, -PLUS was offered.
    pub(crate) binding: Option<Vec<u8>>,
}

/// Why the exchange ends without a login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ScramError {
    /// The client broke the grammar or the rules: what was expected.
    Malformed(&'static str),
    /// The proof is wrong, or the channel binding is.
    Refused,
}

/// The client's first message, understood.
#[derive(Clone, Debug)]
pub(crate) struct ClientFirst {
    /// Who wants to log in.
    pub(crate) user: String,
    gs2_header: String,
    bare: String,
    nonce: String,
    binding: Option<Vec<u8>>,
}

/// The exchange after the server's first message.
#[derive(Debug)]
pub(crate) struct Challenged {
    first: ClientFirst,
    server_first: String,
    nonce: String,
    keys: Keys,
}

/// ```abnf
/// client-first-message = gs2-header client-first-message-bare
/// gs2-header = gs2-cbind-flag "," [ authzid ] ","
/// client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions]
/// ```
pub(crate) fn client_first(message: &[u8], offer: &Offer) -> Result<ClientFirst, ScramError> {
    let text = std::str::from_utf8(message)
        .map_err(|_| ScramError::Malformed("expected a client-first-message in UTF-8"))?;
    let mut parts = text.splitn(3, ',');
    let (Some(flag), Some(authzid), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(ScramError::Malformed("expected gs2-cbind-flag, authzid and message"));
    };
    let binding = binding_for(flag, offer)?;
    let mut attributes = bare.split(',');
    let user = attributes
        .next()
        .and_then(|attribute| attribute.strip_prefix("n="))
        .ok_or(ScramError::Malformed("expected n=username (extensions are not supported)"))?;
    let nonce = attributes
        .next()
        .and_then(|attribute| attribute.strip_prefix("r="))
        .filter(|nonce| !nonce.is_empty() && nonce.bytes().all(|octet| octet.is_ascii_graphic()))
        .ok_or(ScramError::Malformed("expected r=nonce"))?;
    let user = saslname(user)?;
    match authzid {
        "" => {}
        _ => {
            let wanted = authzid
                .strip_prefix("a=")
                .ok_or(ScramError::Malformed("expected a=authzid or nothing"))?;
            if saslname(wanted)? != user {
                return Err(ScramError::Refused);
            }
        }
    }
    Ok(ClientFirst {
        user,
        gs2_header: format!("{flag},{authzid},"),
        bare: bare.to_owned(),
        nonce: nonce.to_owned(),
        binding,
    })
}

/// ```abnf
/// gs2-cbind-flag = ("p=" cb-name) / "n" / "y"
/// ```
fn binding_for(flag: &str, offer: &Offer) -> Result<Option<Vec<u8>>, ScramError> {
    match (flag, offer.plus, &offer.binding) {
        ("n", false, _) | ("y", false, None) => Ok(None),
        ("y", false, Some(_)) => Err(ScramError::Refused),
        (_, true, Some(binding)) if flag.strip_prefix("p=") == Some(BINDING_NAME) => {
            Ok(Some(binding.clone()))
        }
        (_, true, _) => {
            Err(ScramError::Malformed("expected p=tls-exporter with SCRAM-SHA-256-PLUS"))
        }
        _ => Err(ScramError::Malformed("expected n or y; p= goes with SCRAM-SHA-256-PLUS")),
    }
}

/// ```abnf
/// saslname = 1*(value-safe-char / "=2C" / "=3D")
/// ```
fn saslname(text: &str) -> Result<String, ScramError> {
    let malformed = ScramError::Malformed("expected a saslname, with , and = written =2C and =3D");
    let mut name = String::with_capacity(text.len());
    let mut parts = text.split('=');
    name.push_str(parts.next().unwrap_or_default());
    for part in parts {
        if let Some(rest) = part.strip_prefix("2C") {
            name.push(',');
            name.push_str(rest);
        } else if let Some(rest) = part.strip_prefix("3D") {
            name.push('=');
            name.push_str(rest);
        } else {
            return Err(malformed);
        }
    }
    if name.is_empty() || name.contains('\0') { Err(malformed) } else { Ok(name) }
}

impl ClientFirst {
    /// ```abnf
    /// server-first-message = [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions]
    /// ```
    pub(crate) fn challenge(self, server_nonce: &str, keys: Keys) -> (Vec<u8>, Challenged) {
        let nonce = format!("{}{server_nonce}", self.nonce);
        let salt = BASE64_STANDARD.encode(&keys.salt);
        let server_first = format!("r={nonce},s={salt},i={}", keys.iterations);
        let message = server_first.clone().into_bytes();
        (message, Challenged { first: self, server_first, nonce, keys })
    }
}

impl Challenged {
    /// Checks the client's proof; answers the server-final-message.
    ///
    /// ```abnf
    /// client-final-message = client-final-message-without-proof "," proof
    /// client-final-message-without-proof = channel-binding "," nonce ["," extensions]
    /// ```
    pub(crate) fn client_final(&self, message: &[u8]) -> Result<Vec<u8>, ScramError> {
        let text = std::str::from_utf8(message)
            .map_err(|_| ScramError::Malformed("expected a client-final-message in UTF-8"))?;
        let (without_proof, proof) =
            text.rsplit_once(",p=").ok_or(ScramError::Malformed("expected p=proof at the end"))?;
        let proof: [u8; 32] = BASE64_STANDARD
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or(ScramError::Malformed("expected a proof of 32 octets in base64"))?;
        let mut attributes = without_proof.split(',');
        let binding = attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix("c="))
            .and_then(|binding| BASE64_STANDARD.decode(binding).ok())
            .ok_or(ScramError::Malformed("expected c=channel-binding in base64"))?;
        let nonce = attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix("r="))
            .ok_or(ScramError::Malformed("expected r=nonce"))?;

        let mut bound = self.first.gs2_header.clone().into_bytes();
        bound.extend_from_slice(self.first.binding.as_deref().unwrap_or_default());
        let auth_message = format!("{},{},{without_proof}", self.first.bare, self.server_first);
        let signature = hmac_sha256(&self.keys.stored_key, auth_message.as_bytes());
        let mut client_key = proof;
        for (octet, mask) in client_key.iter_mut().zip(signature) {
            *octet ^= mask;
        }
        let proven = sha256(&client_key).ct_eq(&self.keys.stored_key)
            & binding.ct_eq(&bound)
            & nonce.as_bytes().ct_eq(self.nonce.as_bytes());
        if !bool::from(proven) {
            return Err(ScramError::Refused);
        }
        let verifier = hmac_sha256(&self.keys.server_key, auth_message.as_bytes());
        Ok(format!("v={}", BASE64_STANDARD.encode(verifier)).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const PLAIN: Offer = Offer { plus: false, binding: None };

    fn keys() -> Keys {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        Keys::derive_with("pencil", salt, NonZeroU32::new(4096).unwrap()).unwrap()
    }

    /// A client's final message for these messages, as RFC 5802 §3 computes it.
    fn finish(keys: &Keys, first: &str, server_first: &str, bound: &[u8]) -> String {
        let mut salted = [0; 32];
        let algorithm = ring::pbkdf2::PBKDF2_HMAC_SHA256;
        ring::pbkdf2::derive(algorithm, keys.iterations, &keys.salt, b"pencil", &mut salted);
        let client_key = hmac_sha256(&salted, b"Client Key");
        let nonce = server_first.split(',').next().unwrap();
        let without_proof = format!("c={},{nonce}", BASE64_STANDARD.encode(bound));
        let bare = first.splitn(3, ',').nth(2).unwrap();
        let auth_message = format!("{bare},{server_first},{without_proof}");
        let mut proof = client_key;
        let signature = hmac_sha256(&sha256(&client_key), auth_message.as_bytes());
        proof.iter_mut().zip(signature).for_each(|(octet, mask)| *octet ^= mask);
        format!("{without_proof},p={}", BASE64_STANDARD.encode(proof))
    }

    #[test]
    fn the_example_of_rfc_7677_logs_in() {
        let first = client_first(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", &PLAIN).unwrap();
        assert_eq!(first.user, "user");
        let (challenge, challenged) = first.challenge("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", keys());
        assert_eq!(
            challenge,
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = challenged
            .client_final(
                b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                  p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            )
            .unwrap();
        assert_eq!(last, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn plus_binds_to_the_connection() {
        let offer = Offer { plus: true, binding: Some(vec![7; 32]) };
        let first = "p=tls-exporter,,n=user,r=abc";
        let (challenge, challenged) =
            client_first(first.as_bytes(), &offer).unwrap().challenge("xyz", keys());
        let challenge = String::from_utf8(challenge).unwrap();
        let bound = |octet| [&b"p=tls-exporter,,"[..], &[octet; 32]].concat();
        let good = finish(&keys(), first, &challenge, &bound(7));
        assert!(challenged.client_final(good.as_bytes()).is_ok());
        let elsewhere = finish(&keys(), first, &challenge, &bound(8));
        assert_eq!(challenged.client_final(elsewhere.as_bytes()), Err(ScramError::Refused));
    }

    #[test]
    fn a_downgrade_is_refused() {
        let offer = Offer { plus: false, binding: Some(vec![7; 32]) };
        assert_eq!(client_first(b"y,,n=u,r=a", &offer).err(), Some(ScramError::Refused));
        assert!(client_first(b"n,,n=u,r=a", &offer).is_ok());
        assert!(client_first(b"y,,n=u,r=a", &PLAIN).is_ok());
        assert!(client_first(b"p=tls-exporter,,n=u,r=a", &PLAIN).is_err());
        let plus = Offer { plus: true, binding: Some(vec![7; 32]) };
        assert!(client_first(b"n,,n=u,r=a", &plus).is_err());
        assert!(client_first(b"p=tls-unique,,n=u,r=a", &plus).is_err());
    }

    #[test]
    fn wrong_proofs_nonces_and_names_are_refused() {
        let first = "n,,n=user,r=abc";
        let (challenge, challenged) =
            client_first(first.as_bytes(), &PLAIN).unwrap().challenge("xyz", keys());
        let challenge = String::from_utf8(challenge).unwrap();
        let good = finish(&keys(), first, &challenge, b"n,,");
        assert!(challenged.client_final(good.as_bytes()).is_ok());
        let other_nonce = good.replace("r=abcxyz", "r=abcxyy");
        assert_eq!(challenged.client_final(other_nonce.as_bytes()), Err(ScramError::Refused));
        assert!(matches!(
            challenged.client_final(b"c=biws,r=abcxyz"),
            Err(ScramError::Malformed(_))
        ));
        assert_eq!(
            client_first(b"n,a=other,n=user,r=abc", &PLAIN).err(),
            Some(ScramError::Refused)
        );
        assert_eq!(client_first(b"n,a=user,n=user,r=abc", &PLAIN).unwrap().user, "user");
    }

    #[test]
    fn names_are_unescaped_and_broken_messages_say_what_was_expected() {
        assert_eq!(client_first(b"n,,n=a=2Cb=3D,r=x", &PLAIN).unwrap().user, "a,b=");
        for message in
            [&b"n,,n=a=b,r=x"[..], b"n,,m=x,n=a,r=x", b"n,,n=,r=x", b"n,,n=a", b"", b"\xff"]
        {
            assert!(matches!(client_first(message, &PLAIN), Err(ScramError::Malformed(_))));
        }
    }
}
