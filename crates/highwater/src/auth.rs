//! Who may log in: passwords and SCRAM proofs are checked against the account's row.
//!
//! # Invariants
//! - Every login reads the account's row; a remembered success counts for the row's present version only.
//! - A name that does not exist costs and answers what a wrong password does.
//! - PBKDF2 never runs on the reactor, and only so many at once.
//!
//! # Standards
//! RFC 4616 (PLAIN), RFC 5802 and RFC 7677 (SCRAM), RFC 4013 (SASLprep).

mod cache;
pub(crate) mod credentials;
mod scram;

use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use imap::acl::Identifier;
use imap::command::Secret;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use session::{AuthFailure, Authenticator, BoxFuture, Exchange, Identity, Peer, Step};
use store::acl::GROUP_PREFIX;
use store::{AccountRow, Store};
use tokio::sync::Semaphore;

use cache::LoginCache;
use credentials::{Keys, Record};
use scram::{Challenged, Offer, ScramError};

/// The longest account name in octets.
pub(crate) const NAME_LEN_MAX: usize = 255;

const PLAIN: &str = "PLAIN";
const SCRAM: &str = "SCRAM-SHA-256";
const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// An account name as it is stored, or why it cannot be one.
pub(crate) fn account_name(text: &str) -> Result<String, String> {
    let name = stringprep::saslprep(text)
        .map_err(|_| "the name holds a control or another forbidden character".to_owned())?;
    if name.is_empty() || name.len() > NAME_LEN_MAX {
        return Err(format!("a name has 1 to {NAME_LEN_MAX} octets"));
    }
    if name.chars().any(|c| c.is_whitespace() || c == '/' || c == '"') || name.starts_with('-') {
        return Err("a name holds no space, slash or quote and does not begin with -".to_owned());
    }
    Ok(name.into_owned())
}

/// The name of an account or a group to be made, or why it cannot be one: entries of access control lists must
/// be able to name it.
pub(crate) fn new_name(text: &str) -> Result<String, String> {
    let name = account_name(text)?;
    if name.eq_ignore_ascii_case(Identifier::ANYONE) {
        return Err(
            "`anyone` stands for everyone in access control lists: choose another name".into()
        );
    }
    if name.starts_with([GROUP_PREFIX, '#']) {
        return Err("a name does not begin with $, which marks groups, or with #".into());
    }
    if name == session::SHARED {
        return Err(
            "`Shared` is the quota root of the shared mailboxes: choose another name".into()
        );
    }
    if name.contains(['%', '*']) {
        return Err("a name holds no % or *, which no mailbox name below `Other Users` may".into());
    }
    Ok(name)
}

/// Checks logins against the store; what all sessions share.
#[derive(Clone)]
pub(crate) struct Accounts {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    cache: LoginCache,
    nobody: hmac::Key,
    checks: Semaphore,
}

/// A row with its record, or the stand-in for a name that does not exist.
struct Found {
    account: Option<(String, AccountRow, Record)>,
    keys: Keys,
}

impl Accounts {
    /// Checks against this store, at most `checks` passwords at once.
    pub(crate) fn new(store: Store, checks: usize) -> Result<Self, credentials::PasswordError> {
        let random = |out: &mut [u8]| {
            SystemRandom::new().fill(out).map_err(|_| credentials::PasswordError::NoRandom)
        };
        let (mut cache, mut nobody) = ([0; 32], [0; 32]);
        random(&mut cache)?;
        random(&mut nobody)?;
        let inner = Inner {
            store,
            cache: LoginCache::new(hmac::Key::new(hmac::HMAC_SHA256, &cache)),
            nobody: hmac::Key::new(hmac::HMAC_SHA256, &nobody),
            checks: Semaphore::new(checks),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn find(&self, name: &str) -> Result<Found, AuthFailure> {
        let nobody =
            |name: &str| Found { account: None, keys: Keys::of_nobody(&self.inner.nobody, name) };
        let Ok(name) = account_name(name) else { return Ok(nobody(name)) };
        let row = self.inner.store.account_row(&name).await;
        let Some(row) = row.map_err(|error| AuthFailure::Unavailable(error.to_string()))? else {
            return Ok(nobody(&name));
        };
        let record = Record::decode(&row.record);
        let Some((record, keys)) = record.and_then(|r| r.keys().map(|keys| (r, keys))) else {
            tracing::error!(account = row.id.0, "the account's record cannot be read");
            return Err(AuthFailure::Unavailable(
                "The account's record cannot be read; set the password anew".into(),
            ));
        };
        Ok(Found { account: Some((name, row, record)), keys })
    }

    /// Checks a name with its password.
    async fn login(
        &self,
        peer: &Peer,
        user: &str,
        password: &str,
    ) -> Result<Identity, AuthFailure> {
        let found = self.find(user).await?;
        let (id, version) =
            found.account.as_ref().map_or((0, 0), |(_, row, _)| (row.id.0, row.version));
        let known = self.inner.cache.knows(id, version, password, Instant::now());
        if !known && !self.verify(found.keys.clone(), password.to_owned()).await? {
            return Err(AuthFailure::Credentials);
        }
        let identity = found.admit(peer)?;
        if !known {
            self.inner.cache.remember(id, version, password, Instant::now());
        }
        Ok(identity)
    }

    async fn verify(&self, keys: Keys, password: String) -> Result<bool, AuthFailure> {
        let unavailable = || AuthFailure::Unavailable("Passwords cannot be checked now".into());
        let _permit = self.inner.checks.acquire().await.map_err(|_| unavailable())?;
        tokio::task::spawn_blocking(move || keys.verify(&password)).await.map_err(|_| unavailable())
    }
}

impl Found {
    /// The identity, once the password or proof was right.
    fn admit(self, peer: &Peer) -> Result<Identity, AuthFailure> {
        let Some((name, row, record)) = self.account else { return Err(AuthFailure::Credentials) };
        if record.disabled {
            return Err(AuthFailure::NotHere("This account is disabled".into()));
        }
        if record.loopback_only && !peer.loopback {
            return Err(AuthFailure::NotHere(
                "This account may log in from the server's own machine only".into(),
            ));
        }
        let AccountRow { id: account, version, .. } = row;
        Ok(Identity { name, account, version, without: record.without })
    }
}

impl Authenticator for Accounts {
    fn mechanisms(&self, peer: &Peer) -> Vec<&'static str> {
        match (peer.secure, peer.loopback, &peer.channel_binding) {
            (true, _, Some(_)) => vec![SCRAM_PLUS, SCRAM, PLAIN],
            (true, _, None) | (false, true, _) => vec![SCRAM, PLAIN],
            (false, false, _) => Vec::new(),
        }
    }

    fn login_allowed(&self, peer: &Peer) -> bool {
        peer.secure || peer.loopback
    }

    fn login<'a>(
        &'a self,
        peer: &'a Peer,
        user: &'a [u8],
        password: &'a Secret,
    ) -> BoxFuture<'a, Result<Identity, AuthFailure>> {
        Box::pin(async move {
            let utf8 = |octets| std::str::from_utf8(octets).map_err(|_| AuthFailure::Credentials);
            self.login(peer, utf8(user)?, utf8(&password.0)?).await
        })
    }

    fn begin(&self, peer: &Peer, mechanism: &str) -> Option<Box<dyn Exchange>> {
        let mechanism = mechanism.to_ascii_uppercase();
        if !self.mechanisms(peer).contains(&mechanism.as_str()) {
            return None;
        }
        let (accounts, peer) = (self.clone(), peer.clone());
        if mechanism == PLAIN {
            return Some(Box::new(PlainExchange { accounts, peer }));
        }
        let offer = Offer { plus: mechanism == SCRAM_PLUS, binding: peer.channel_binding.clone() };
        Some(Box::new(ScramExchange { accounts, peer, offer, challenged: None }))
    }
}

struct PlainExchange {
    accounts: Accounts,
    peer: Peer,
}

impl Exchange for PlainExchange {
    fn step<'a>(&'a mut self, answer: Option<&'a [u8]>) -> BoxFuture<'a, Step> {
        Box::pin(async move {
            let Some(message) = answer else { return Step::Challenge(Vec::new()) };
            match self.check(message).await {
                Ok(identity) => Step::Done { identity, last: None },
                Err(failure) => Step::Failed(failure),
            }
        })
    }
}

impl PlainExchange {
    /// ```abnf
    /// message = [authzid] UTF8NUL authcid UTF8NUL passwd
    /// ```
    async fn check(&self, message: &[u8]) -> Result<Identity, AuthFailure> {
        let malformed =
            || AuthFailure::Malformed("expected authzid NUL authcid NUL password in UTF-8".into());
        let text = std::str::from_utf8(message).map_err(|_| malformed())?;
        let mut parts = text.split('\0');
        let (Some(authzid), Some(user), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        let identity = self.accounts.login(&self.peer, user, password).await?;
        if authzid.is_empty() || account_name(authzid).is_ok_and(|name| name == identity.name) {
            Ok(identity)
        } else {
            Err(AuthFailure::NotHere("Nobody may act for another account".into()))
        }
    }
}

struct ScramExchange {
    accounts: Accounts,
    peer: Peer,
    offer: Offer,
    challenged: Option<(Challenged, Found)>,
}

impl Exchange for ScramExchange {
    fn step<'a>(&'a mut self, answer: Option<&'a [u8]>) -> BoxFuture<'a, Step> {
        Box::pin(async move {
            let Some(message) = answer else { return Step::Challenge(Vec::new()) };
            let step = match self.challenged.take() {
                None => self.challenge(message).await,
                Some((challenged, found)) => {
                    challenged.client_final(message).map_err(AuthFailure::from).and_then(|last| {
                        let identity = found.admit(&self.peer)?;
                        Ok(Step::Done { identity, last: Some(last) })
                    })
                }
            };
            step.unwrap_or_else(Step::Failed)
        })
    }
}

impl ScramExchange {
    async fn challenge(&mut self, message: &[u8]) -> Result<Step, AuthFailure> {
        let first = scram::client_first(message, &self.offer)?;
        let found = self.accounts.find(&first.user).await?;
        let mut nonce = [0u8; 18];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| AuthFailure::Unavailable("No random numbers".into()))?;
        let nonce = BASE64_STANDARD_NO_PAD.encode(nonce);
        let (challenge, challenged) = first.challenge(&nonce, found.keys.clone());
        self.challenged = Some((challenged, found));
        Ok(Step::Challenge(challenge))
    }
}

impl From<ScramError> for AuthFailure {
    fn from(error: ScramError) -> Self {
        match error {
            ScramError::Malformed(expected) => Self::Malformed(expected.into()),
            ScramError::Refused => Self::Credentials,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_words() {
        assert_eq!(account_name("ada@example.org"), Ok("ada@example.org".into()));
        for name in ["", "a b", "a/b", "-x", "a\u{7}", &"x".repeat(256)] {
            assert!(account_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_access_control_lists_could_not_name_is_no_new_name() {
        for name in ["anyone", "Anyone", "$team", "#ada", "-x", "", "a b", "Shared", "a%b", "*"] {
            assert!(new_name(name).is_err(), "{name}");
        }
        for name in ["$team", "anyone"] {
            assert_eq!(account_name(name), Ok(name.into()), "who has it already keeps it");
        }
        assert_eq!(new_name("anyone@example.org"), Ok("anyone@example.org".into()));
    }
}
