//! What is kept about an account in place of its password, and how a password is checked against it.
//!
//! # Invariants
//! - A password is never stored: only the keys that SCRAM derives from it (RFC 5802 §3), under a salt of its own.
//! - Comparisons take the same time whatever differs.
//!
//! # Standards
//! RFC 5802, RFC 7677 (SHA-256), RFC 5803 (how the keys are written), RFC 4013 (SASLprep).

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

/// Rounds of PBKDF2 for new passwords; RFC 7677 §4 asks for 4096 at least. As many as Cyrus SASL's client
/// library takes: with more, mbsync and whoever else uses it give up, though they could have used PLAIN.
pub(crate) const ITERATIONS: NonZeroU32 = NonZeroU32::new(65_536).unwrap();

/// Octets of salt for new passwords.
const SALT_LEN: usize = 16;

/// The scheme's name as RFC 5803 writes it.
const SCHEME: &str = "SCRAM-SHA-256";

/// An account's record as the store keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The keys, as RFC 5803 writes them.
    pub(crate) password: String,
    /// May not log in and receives no mail.
    #[serde(default)]
    pub(crate) disabled: bool,
    /// May log in from this machine only.
    #[serde(default)]
    pub(crate) loopback_only: bool,
    /// Capabilities that are switched off for this account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) without: Vec<String>,
}

impl Record {
    /// A record with keys made from the password: takes some 30 ms.
    pub(crate) fn new(password: &str) -> Result<Self, PasswordError> {
        let keys = Keys::derive(password)?;
        let (disabled, loopback_only, without) = (false, false, Vec::new());
        Ok(Self { password: keys.encode(), disabled, loopback_only, without })
    }

    /// The record as octets.
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The record from octets, `None` when a newer program wrote it or it is damaged.
    pub(crate) fn decode(octets: &[u8]) -> Option<Self> {
        serde_json::from_slice(octets).ok()
    }

    /// The keys in it.
    pub(crate) fn keys(&self) -> Option<Keys> {
        Keys::decode(&self.password)
    }
}

/// Why a password cannot be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PasswordError {
    /// It is empty.
    Empty,
    /// SASLprep forbids a character in it (RFC 4013 §2.3).
    Forbidden,
    /// The system has no random numbers.
    NoRandom,
}

impl std::fmt::Display for PasswordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "the password is empty: give one of at least one character",
            Self::Forbidden => {
                "the password holds a control or another forbidden character (RFC 4013): choose another"
            }
            Self::NoRandom => "the system gives no random numbers: try again",
        })
    }
}

impl std::error::Error for PasswordError {}

/// What SCRAM keeps of a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    /// The salt.
    pub(crate) salt: Vec<u8>,
    /// Rounds of PBKDF2.
    pub(crate) iterations: NonZeroU32,
    /// Proves what the client sends.
    pub(crate) stored_key: [u8; 32],
    /// Proves the server to the client.
    pub(crate) server_key: [u8; 32],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// Keys for the password under a new salt.
    pub(crate) fn derive(password: &str) -> Result<Self, PasswordError> {
        let mut salt = vec![0; SALT_LEN];
        SystemRandom::new().fill(&mut salt).map_err(|_| PasswordError::NoRandom)?;
        Self::derive_with(password, salt, ITERATIONS)
    }

    /// Keys for the password under this salt.
    pub(crate) fn derive_with(
        password: &str,
        salt: Vec<u8>,
        iterations: NonZeroU32,
    ) -> Result<Self, PasswordError> {
        if password.is_empty() {
            return Err(PasswordError::Empty);
        }
        let prepared = stringprep::saslprep(password).map_err(|_| PasswordError::Forbidden)?;
        let mut salted = [0; 32];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, iterations, &salt, prepared.as_bytes(), &mut salted);
        let client_key = hmac_sha256(&salted, b"Client Key");
        let stored_key = sha256(&client_key);
        let server_key = hmac_sha256(&salted, b"Server Key");
        Ok(Self { salt, iterations, stored_key, server_key })
    }

    /// Keys that no password has: an unknown user meets these and cannot tell (RFC 5802 §9).
    ///
    /// The salt follows from the name, so that asking twice shows the same.
    pub(crate) fn of_nobody(secret: &hmac::Key, name: &str) -> Self {
        let salt = hmac::sign(secret, name.as_bytes());
        let salt = salt.as_ref().iter().take(SALT_LEN).copied().collect();
        let mut unknown = [0; 32];
        if SystemRandom::new().fill(&mut unknown).is_err() {
            unknown = sha256(hmac::sign(secret, b"nobody").as_ref());
        }
        Self { salt, iterations: ITERATIONS, stored_key: unknown, server_key: unknown }
    }

    /// Whether this is the password: takes some 30 ms.
    pub(crate) fn verify(&self, password: &str) -> bool {
        Self::derive_with(password, self.salt.clone(), self.iterations)
            .is_ok_and(|derived| derived.stored_key.ct_eq(&self.stored_key).into())
    }

    /// As RFC 5803 §3 writes them: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
    pub(crate) fn encode(&self) -> String {
        format!(
            "{SCHEME}${}:{}${}:{}",
            self.iterations,
            BASE64_STANDARD.encode(&self.salt),
            BASE64_STANDARD.encode(self.stored_key),
            BASE64_STANDARD.encode(self.server_key)
        )
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split('$');
        let (SCHEME, auth_info, auth_value, None) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next())
        else {
            return None;
        };
        let (iterations, salt) = auth_info.split_once(':')?;
        let (stored, server) = auth_value.split_once(':')?;
        Some(Self {
            salt: BASE64_STANDARD.decode(salt).ok()?,
            iterations: iterations.parse().ok()?,
            stored_key: BASE64_STANDARD.decode(stored).ok()?.try_into().ok()?,
            server_key: BASE64_STANDARD.decode(server).ok()?.try_into().ok()?,
        })
    }
}

/// HMAC-SHA-256.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut out = [0; 32];
    out.copy_from_slice(tag.as_ref());
    out
}

/// SHA-256.
pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, message).as_ref());
    out
}

/// A password of 20 letters and digits that are hard to mistake: 100 bits.
pub(crate) fn generate_password() -> Result<String, PasswordError> {
    const LETTERS: [char; 32] = [
        'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'j', 'k', 'm', 'n', 'p', 'q', 'r', 's', 't', 'u',
        'v', 'w', 'x', 'y', 'z', '2', '3', '4', '5', '6', '7', '8', '9', 'i',
    ];
    let mut random = [0u8; 20];
    SystemRandom::new().fill(&mut random).map_err(|_| PasswordError::NoRandom)?;
    Ok(random.iter().filter_map(|octet| LETTERS.get(usize::from(octet % 32))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_verifies_its_password_and_no_other() {
        let record = Record::new("pencil").unwrap();
        let read = Record::decode(&record.encode()).unwrap();
        assert_eq!(read, record);
        let keys = read.keys().unwrap();
        assert_eq!(keys.iterations.get(), 65_536, "more would shut out libsasl2");
        assert!(keys.verify("pencil") && !keys.verify("pencil ") && !keys.verify(""));
        assert!(!record.password.contains("pencil"));
    }

    #[test]
    fn a_record_of_an_older_program_has_everything_switched_on() {
        let mut record = Record::decode(br#"{"password":"x","disabled":true}"#).unwrap();
        assert!(record.disabled && record.without.is_empty());
        let older = String::from_utf8(record.encode()).unwrap();
        assert!(!older.contains("without"), "an older program can read it: {older}");
        record.without.push("QRESYNC".into());
        assert_eq!(Record::decode(&record.encode()), Some(record));
    }

    #[test]
    fn passwords_are_prepared() {
        // RFC 4013 §3: a soft hyphen is mapped to nothing.
        let keys = Keys::derive("I\u{ad}X").unwrap();
        assert!(keys.verify("IX"));
        assert_eq!(Keys::derive("\u{7}").unwrap_err(), PasswordError::Forbidden);
        assert_eq!(Keys::derive("").unwrap_err(), PasswordError::Empty);
    }

    #[test]
    fn nobody_has_a_steady_salt_and_no_password() {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, b"x");
        let (one, two) = (Keys::of_nobody(&secret, "a"), Keys::of_nobody(&secret, "a"));
        assert_eq!(one.salt, two.salt);
        assert_ne!(one.salt, Keys::of_nobody(&secret, "b").salt);
        assert_eq!(one.salt.len(), SALT_LEN);
        assert_ne!(one.stored_key, two.stored_key);
    }

    #[test]
    fn damaged_records_are_no_records() {
        for text in ["", "SCRAM-SHA-256$0:YQ==$YQ==:YQ==", "SCRAM-SHA-1$1:a$b:c", "x$1:a$b:c$d"] {
            assert!(Keys::decode(text).is_none(), "{text}");
        }
        assert!(Record::decode(b"{\"password\":\"\",\"more\":1}").is_none());
    }
}
