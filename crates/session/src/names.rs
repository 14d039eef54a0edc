//! Names as this user says them, and whose mailbox stands behind each.
//!
//! # Invariants
//! - What the user may not list is answered as what is not there.
//! - The names below `Other Users` and `Shared` are never the user's own.
//!
//! # Standards
//! RFC 2342 (namespaces), RFC 4314 §4 (what each right is for) and §6 (what must not be told).

use crate::refusal::Refusal;
use crate::session::{Login, Session};
use imap::acl::Rights;
use imap::encode::Code;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{AccountId, AccountState, Directory, MailboxId, SpecialUse};

/// The first level of other users' mailboxes; the second is the user's name.
pub const OTHERS: &str = "Other Users";
/// The first level of the mailboxes that belong to nobody.
pub const SHARED: &str = "Shared";

/// A name, taken apart.
enum Parts<'a> {
    Own,
    Shared(&'a str),
    Other(&'a str, &'a str),
}

fn parts(name: &str) -> Parts<'_> {
    let (first, rest) = name.split_once('/').unwrap_or((name, ""));
    match first {
        SHARED => Parts::Shared(rest),
        OTHERS => {
            let (owner, rest) = rest.split_once('/').unwrap_or((rest, ""));
            Parts::Other(owner, rest)
        }
        _ => Parts::Own,
    }
}

/// What stands behind a name, or would.
pub(crate) struct Place {
    /// Whose account it is.
    pub(crate) owner: AccountId,
    /// The owner's name; nothing for [`AccountId::SHARED`].
    pub(crate) owner_name: String,
    /// The name in that account.
    pub(crate) name: String,
    /// Whether it is the user's own.
    pub(crate) own: bool,
    /// What the user may do with the mailbox; nothing when there is none.
    pub(crate) rights: Rights,
    /// The owner's account.
    pub(crate) state: Arc<AccountState>,
}

impl Place {
    /// The mailbox, if there is one and the user has this right.
    pub(crate) fn find(&self, right: Rights) -> Result<MailboxId, Refusal> {
        let entry = self.state.mailbox(&self.name);
        let id = entry.and_then(|entry| entry.id);
        match id {
            Some(id) if self.rights.contains(right) => Ok(id),
            Some(_) if self.rights.contains(Rights::LOOKUP) => Err(Refusal::no_permission()),
            None if self.own && entry.is_some() => Err(Refusal::coded(
                Code::NonExistent,
                "There are only mailboxes below this name, none here",
            )),
            _ => Err(store::Error::NonExistent.into()),
        }
    }

    /// Whether the user may create a mailbox of this name.
    pub(crate) fn may_create(&self, user: AccountId, directory: &Directory) -> bool {
        let above = self.state.parent(&self.name);
        let has = |name: &str| self.state.rights(name, user, directory).contains(Rights::CREATE);
        self.own || above.is_some_and(has)
    }
}

/// A name as LIST shows it.
pub(crate) struct Listed {
    /// The mailbox, or `None` for a name that only leads to others.
    pub(crate) id: Option<MailboxId>,
    /// The user's own special uses: those of others mean nothing to this user.
    pub(crate) special_use: Vec<SpecialUse>,
    pub(crate) rights: Rights,
}

/// Every name that the user may list.
pub(crate) type Listing<'a> = BTreeMap<Cow<'a, str>, Listed>;

impl Login {
    /// What the groups and grants are now.
    pub(crate) fn directory(&self) -> Arc<AccountState> {
        self.directory.state()
    }
}

impl Session {
    /// Looks the name up; another user who shares nothing with anyone is answered as one who is not there.
    pub(crate) async fn place(&mut self, name: &str) -> Result<Place, Refusal> {
        let login = self.login()?;
        let user = login.identity.account;
        let (account, owner_name, name) = match parts(name) {
            Parts::Own => (login.account.clone(), login.identity.name.as_str(), name),
            Parts::Shared(rest) => (login.directory.clone(), "", rest),
            Parts::Other(owner, rest) => {
                let found = login.directory().directory().owner(owner);
                let id = found.filter(|id| *id != user).ok_or(store::Error::NonExistent)?;
                (self.shared.store.account(id).await?, owner, rest)
            }
        };
        let state = account.state();
        // Read after the state, so that no group is older than what it gives rights to.
        let rights = state.rights(name, user, login.directory().directory());
        let (owner, own) = (state.id(), state.id() == user);
        let (owner_name, name) = (owner_name.to_owned(), name.to_owned());
        Ok(Place { owner, owner_name, name, own, rights, state })
    }

    /// The accounts that share something with the user, each with the prefix of its names.
    pub(crate) async fn sharers(&mut self) -> Result<Vec<(String, Arc<AccountState>)>, Refusal> {
        let login = self.login()?;
        let directory = login.directory();
        let mut sharers = Vec::new();
        for (owner, name) in directory.directory().owners(login.identity.account) {
            if owner == AccountId::SHARED {
                sharers.push((SHARED.to_owned(), login.directory()));
                continue;
            }
            match self.shared.store.account(owner).await {
                Ok(account) => sharers.push((format!("{OTHERS}/{name}"), account.state())),
                // Deleted meanwhile.
                Err(store::Error::NonExistent) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(sharers)
    }

    /// Puts together what the user may list: their own names, and those of others that give `l`.
    pub(crate) fn listing<'a>(
        &self,
        own: &'a AccountState,
        sharers: &[(String, Arc<AccountState>)],
    ) -> Result<Listing<'a>, Refusal> {
        let login = self.login()?;
        let listed = |id, special_use: &[SpecialUse], rights| Listed {
            id,
            special_use: special_use.to_vec(),
            rights,
        };
        let mut names: Listing<'a> = own
            .mailboxes()
            .filter(|(name, _)| matches!(parts(name), Parts::Own))
            .map(|(name, e)| (Cow::Borrowed(name), listed(e.id, &e.special_use, Rights::ALL)))
            .collect();
        let directory = login.directory();
        for (prefix, state) in sharers {
            for (name, entry) in state.mailboxes().filter(|(_, entry)| entry.id.is_some()) {
                let rights = state.rights(name, login.identity.account, directory.directory());
                if rights.contains(Rights::LOOKUP) {
                    let name = format!("{prefix}/{name}");
                    for (at, _) in name.match_indices('/') {
                        let above = name.get(..at).unwrap_or_default().to_owned();
                        let nothing = || listed(None, &[], Rights::NONE);
                        names.entry(Cow::Owned(above)).or_insert_with(nothing);
                    }
                    names.insert(Cow::Owned(name), listed(entry.id, &[], rights));
                }
            }
        }
        Ok(names)
    }
}
