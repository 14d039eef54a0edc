//! What is stored of a change of an account, and its encoding.

use super::SpecialUse;
use crate::acl::Acl;
use crate::codec::{Reader, Writer};
use crate::delta::{uid_validity, version};
use crate::directory::{Directory, GrantKey};
use crate::engine::{AccountId, EngineError};
use crate::quota::Quota;
use imap::number::UidValidity;

/// What is stored of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum AccountDelta {
    Begin { uid_validity: u32 },
    Create { name: String, number: u32, uid_validity: UidValidity, special_use: Vec<SpecialUse> },
    Delete { name: String },
    Rename { from: String, to: String },
    Subscribe { name: String },
    Unsubscribe { name: String },
    Acl { name: String, acl: Acl },
    Revalidate { name: String, uid_validity: UidValidity },
    Quota(Quota),
    Member { group: String, account: AccountId, name: String, member: bool },
    Grant { key: GrantKey, owner: AccountId, name: String, given: bool },
    Forget { account: AccountId },
}

impl AccountDelta {
    /// What an account's mailboxes begin with: a UIDVALIDITY from the clock, so that an account made anew under an
    /// old name, or `Shared/` in a new data directory, differs.
    pub(crate) fn begin(now: i64) -> Self {
        Self::Begin { uid_validity: Self::first_uid_validity(now).value() }
    }

    /// The first UIDVALIDITY of an account whose first mailbox is made now.
    pub(crate) fn first_uid_validity(now: i64) -> UidValidity {
        u32::try_from(now).ok().and_then(UidValidity::new).unwrap_or(UidValidity::MIN)
    }

    /// The directory after this, if it is about the directory.
    pub(super) fn on(&self, directory: Directory) -> Directory {
        match self {
            Self::Member { group, account, name, member: true } => {
                directory.with_member(group, *account, name)
            }
            Self::Member { group, account, .. } => directory.without_member(group, *account),
            Self::Grant { key, owner, name, given: true } => {
                directory.with_grant(key, *owner, name)
            }
            Self::Grant { key, owner, .. } => directory.without_grant(key, *owner),
            Self::Forget { account } => directory.without_account(*account),
            _ => directory,
        }
    }

    /// The stored form.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.byte(1);
        match self {
            Self::Begin { uid_validity } => {
                w.byte(1);
                w.number(u64::from(*uid_validity));
            }
            Self::Create { name, number, uid_validity, special_use } => {
                w.byte(2);
                write_mailbox(&mut w, name, *number, *uid_validity, special_use);
            }
            Self::Delete { name } => {
                w.byte(3);
                w.text(name);
            }
            Self::Rename { from, to } => {
                w.byte(4);
                w.text(from);
                w.text(to);
            }
            Self::Subscribe { name } => {
                w.byte(5);
                w.text(name);
            }
            Self::Unsubscribe { name } => {
                w.byte(6);
                w.text(name);
            }
            Self::Acl { name, acl } => {
                w.byte(7);
                w.text(name);
                acl.encode(&mut w);
            }
            Self::Revalidate { name, uid_validity } => {
                w.byte(8);
                w.text(name);
                w.number(u64::from(uid_validity.value()));
            }
            Self::Quota(quota) => {
                w.byte(9);
                quota.encode(&mut w);
            }
            Self::Member { group, account, name, member } => {
                w.byte(10);
                w.text(group);
                w.number(account.0);
                w.text(name);
                w.byte(u8::from(*member));
            }
            Self::Grant { key, owner, name, given } => {
                w.byte(11);
                key.encode(&mut w);
                w.number(owner.0);
                w.text(name);
                w.byte(u8::from(*given));
            }
            Self::Forget { account } => {
                w.byte(12);
                w.number(account.0);
            }
        }
        w.out
    }

    /// Reads the stored form.
    pub(crate) fn decode(octets: &[u8]) -> Result<Self, EngineError> {
        let mut r = Reader::new(octets);
        version(&mut r)?;
        let kind = r.byte()?;
        let text = |r: &mut Reader<'_>| r.text().map(str::to_owned);
        let delta = match kind {
            1 => Self::Begin { uid_validity: r.number_32()? },
            2 => {
                let (name, number, uid_validity, special_use) = read_mailbox(&mut r)?;
                Self::Create { name, number, uid_validity, special_use }
            }
            3 => Self::Delete { name: text(&mut r)? },
            4 => Self::Rename { from: text(&mut r)?, to: text(&mut r)? },
            5 => Self::Subscribe { name: text(&mut r)? },
            6 => Self::Unsubscribe { name: text(&mut r)? },
            7 => Self::Acl { name: text(&mut r)?, acl: Acl::decode(&mut r)? },
            8 => Self::Revalidate { name: text(&mut r)?, uid_validity: uid_validity(&mut r)? },
            9 => Self::Quota(Quota::decode(&mut r)?),
            10 => Self::Member {
                group: text(&mut r)?,
                account: AccountId(r.number()?),
                name: text(&mut r)?,
                member: r.byte()? != 0,
            },
            11 => Self::Grant {
                key: GrantKey::decode(&mut r)?,
                owner: AccountId(r.number()?),
                name: text(&mut r)?,
                given: r.byte()? != 0,
            },
            12 => Self::Forget { account: AccountId(r.number()?) },
            other => return Err(EngineError::Damaged(format!("unknown account change {other}"))),
        };
        r.end()?;
        Ok(delta)
    }
}

pub(super) fn write_mailbox(
    w: &mut Writer,
    name: &str,
    number: u32,
    uid_validity: UidValidity,
    special_use: &[SpecialUse],
) {
    w.text(name);
    w.number(u64::from(number));
    w.number(u64::from(uid_validity.value()));
    w.number(special_use.iter().fold(0, |bits, u| bits | u.bit()));
}

pub(super) fn read_mailbox(
    r: &mut Reader<'_>,
) -> Result<(String, u32, UidValidity, Vec<SpecialUse>), EngineError> {
    let (name, number) = (r.text()?.to_owned(), r.number_32()?);
    let (uid_validity, bits) = (uid_validity(r)?, r.number()?);
    let special_use = SpecialUse::ALL.into_iter().filter(|u| bits & u.bit() != 0).collect();
    Ok((name, number, uid_validity, special_use))
}
