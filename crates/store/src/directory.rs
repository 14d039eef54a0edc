//! What concerns several accounts: the groups, and which accounts share with whom.
//!
//! It stands in the state of account 0, [`AccountId::SHARED`], to which the mailboxes below `Shared/` belong.
//!
//! # Invariants
//! - An account is found here from each grantee of its mailboxes: the same commit that changes an access
//!   control list changes this, so LIST looks only into accounts that share something with the user.

use crate::acl::Grantee;
use crate::codec::{Reader, Writer};
use crate::engine::{AccountId, EngineError};
use std::collections::{BTreeMap, BTreeSet};

/// What an account is looked up by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum GrantKey {
    Anyone,
    Group(String),
    User(AccountId),
}

impl From<&Grantee> for GrantKey {
    fn from(grantee: &Grantee) -> Self {
        match grantee {
            Grantee::Anyone => Self::Anyone,
            Grantee::Group(name) => Self::Group(name.clone()),
            Grantee::User { account, .. } => Self::User(*account),
        }
    }
}

impl GrantKey {
    pub(crate) fn encode(&self, w: &mut Writer) {
        let name = String::new;
        match self {
            Self::Anyone => Grantee::Anyone,
            Self::Group(group) => Grantee::Group(group.clone()),
            Self::User(account) => Grantee::User { account: *account, name: name() },
        }
        .encode(w);
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, EngineError> {
        Grantee::decode(r).map(|grantee| Self::from(&grantee))
    }
}

/// Groups and grants at one instant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Directory {
    groups: BTreeMap<String, BTreeMap<AccountId, String>>,
    grants: BTreeMap<GrantKey, BTreeSet<AccountId>>,
    names: BTreeMap<AccountId, String>,
}

impl Directory {
    /// Whether the account belongs to the group.
    #[must_use]
    pub fn is_member(&self, group: &str, account: AccountId) -> bool {
        self.groups.get(group).is_some_and(|members| members.contains_key(&account))
    }

    /// The groups by name, each with the names of its members.
    pub fn groups(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.groups.iter().map(|(name, members)| {
            let mut members: Vec<_> = members.values().map(String::as_str).collect();
            members.sort_unstable();
            (name.as_str(), members)
        })
    }

    /// The accounts that have a mailbox with an entry for this user, for one of their groups or for anyone, each
    /// with its name; [`AccountId::SHARED`] has none.
    #[must_use]
    pub fn owners(&self, user: AccountId) -> Vec<(AccountId, &str)> {
        let groups = self.groups.iter().filter(|(_, members)| members.contains_key(&user));
        let keys = groups.map(|(name, _)| GrantKey::Group(name.clone()));
        let keys = keys.chain([GrantKey::Anyone, GrantKey::User(user)]);
        let owners: BTreeSet<AccountId> =
            keys.filter_map(|key| self.grants.get(&key)).flatten().copied().collect();
        owners.into_iter().filter(|id| *id != user).map(|id| (id, self.name(id))).collect()
    }

    /// The account of this name, if it shares anything with anyone.
    #[must_use]
    pub fn owner(&self, name: &str) -> Option<AccountId> {
        self.names
            .iter()
            .find(|(id, known)| **id != AccountId::SHARED && *known == name)
            .map(|f| *f.0)
    }

    fn name(&self, id: AccountId) -> &str {
        self.names.get(&id).map_or("", String::as_str)
    }

    /// Whether the account stands anywhere in here.
    pub(crate) fn knows(&self, id: AccountId) -> bool {
        self.names.contains_key(&id)
            || self.grants.contains_key(&GrantKey::User(id))
            || self.groups.values().any(|members| members.contains_key(&id))
    }

    #[must_use]
    pub(crate) fn with_member(mut self, group: &str, account: AccountId, name: &str) -> Self {
        self.groups.entry(group.to_owned()).or_default().insert(account, name.to_owned());
        self
    }

    /// Without the member; a group without members is none.
    #[must_use]
    pub(crate) fn without_member(mut self, group: &str, account: AccountId) -> Self {
        if let Some(members) = self.groups.get_mut(group) {
            members.remove(&account);
        }
        self.groups.retain(|_, members| !members.is_empty());
        self
    }

    #[must_use]
    pub(crate) fn with_grant(mut self, key: &GrantKey, owner: AccountId, name: &str) -> Self {
        self.grants.entry(key.clone()).or_default().insert(owner);
        self.names.insert(owner, name.to_owned());
        self
    }

    #[must_use]
    pub(crate) fn without_grant(mut self, key: &GrantKey, owner: AccountId) -> Self {
        if let Some(owners) = self.grants.get_mut(key) {
            owners.remove(&owner);
        }
        self.swept()
    }

    /// Without an account that is no more.
    #[must_use]
    pub(crate) fn without_account(mut self, id: AccountId) -> Self {
        self.groups.values_mut().for_each(|members| drop(members.remove(&id)));
        self.groups.retain(|_, members| !members.is_empty());
        self.grants.values_mut().for_each(|owners| owners.retain(|owner| *owner != id));
        self.grants.remove(&GrantKey::User(id));
        self.swept()
    }

    fn swept(mut self) -> Self {
        self.grants.retain(|_, owners| !owners.is_empty());
        let owners: BTreeSet<_> = self.grants.values().flatten().copied().collect();
        self.names.retain(|id, _| owners.contains(id));
        self
    }

    pub(crate) fn encode(&self, w: &mut Writer) {
        w.number(self.groups.len() as u64);
        for (group, members) in &self.groups {
            w.text(group);
            write_names(w, members);
        }
        write_names(w, &self.names);
        w.number(self.grants.len() as u64);
        for (key, owners) in &self.grants {
            key.encode(w);
            w.number(owners.len() as u64);
            owners.iter().for_each(|owner| w.number(owner.0));
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, EngineError> {
        let mut directory = Self::default();
        for _ in 0..r.count()? {
            let group = r.text()?.to_owned();
            directory.groups.insert(group, read_names(r)?);
        }
        directory.names = read_names(r)?;
        for _ in 0..r.count()? {
            let key = GrantKey::decode(r)?;
            let owners = (0..r.count()?).map(|_| Ok(AccountId(r.number()?)));
            let owners = owners.collect::<Result<_, EngineError>>()?;
            directory.grants.insert(key, owners);
        }
        Ok(directory)
    }
}

fn write_names(w: &mut Writer, names: &BTreeMap<AccountId, String>) {
    w.number(names.len() as u64);
    for (id, name) in names {
        w.number(id.0);
        w.text(name);
    }
}

fn read_names(r: &mut Reader<'_>) -> Result<BTreeMap<AccountId, String>, EngineError> {
    (0..r.count()?).map(|_| Ok((AccountId(r.number()?), r.text()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: AccountId = AccountId(1);
    const BOB: AccountId = AccountId(2);

    #[test]
    fn owners_are_found_by_user_group_and_anyone() {
        let directory = Directory::default()
            .with_member("team", BOB, "bob")
            .with_grant(&GrantKey::Group("team".into()), ALICE, "alice")
            .with_grant(&GrantKey::Anyone, AccountId::SHARED, "")
            .with_grant(&GrantKey::User(ALICE), BOB, "bob");
        assert_eq!(directory.owners(BOB), [(AccountId::SHARED, ""), (ALICE, "alice")]);
        assert_eq!(directory.owners(ALICE), [(AccountId::SHARED, ""), (BOB, "bob")]);
        assert_eq!(directory.owner("alice"), Some(ALICE));
        let mut w = Writer::default();
        directory.encode(&mut w);
        assert_eq!(Directory::decode(&mut Reader::new(&w.out)).unwrap(), directory);
        let directory = directory.without_account(ALICE);
        assert_eq!(directory.owner("alice"), None);
        assert_eq!(directory.owner("bob"), None, "nobody is left with whom bob shares");
        let directory = directory
            .without_member("team", BOB)
            .without_grant(&GrantKey::Anyone, AccountId::SHARED);
        assert_eq!(directory, Directory::default());
    }
}
