//! Mailboxes as the administrator sees them: anybody's, and those below `Shared/`, which are nobody's.
//!
//! # Standards
//! RFC 4314 §2 and §3.1 (what an entry is about, and how its rights change).

use std::io;

use imap::acl::{Identifier, Rights, RightsChange};
use session::{OTHERS, SHARED};
use store::account::INBOX;
use store::acl::GROUP_PREFIX;
use store::{
    Account, AccountChange, AclEntry, Change, Error, Grantee, MailboxEntry, MailboxId, MailboxState,
};
use tokio::io::AsyncWrite;

use super::protocol::{Entry, Listed, Owner, Reply, send};
use super::{Admin, Failure, refused};

/// A mailbox, or the name of one.
pub(super) struct Place {
    account: Account,
    /// The owner's name; nothing for the mailboxes below `Shared/`.
    owner: String,
    /// The name in the owner's account.
    name: String,
}

impl Place {
    /// The mailbox, if there is one.
    fn id(&self) -> Result<MailboxId, Failure> {
        let entry = self.account.state().mailbox(&self.name).and_then(|entry| entry.id);
        entry.ok_or_else(|| {
            let name = &self.name;
            refused(match self.owner.as_str() {
                "" => format!(
                    "there is no mailbox `{SHARED}/{name}`; `mailbox list --shared` names all"
                ),
                user => format!("`{user}` has no mailbox `{name}`: names are as LIST shows them"),
            })
        })
    }

    /// The entry with this identifier.
    fn entry(&self, negative: bool, name: &str) -> Option<AclEntry> {
        let state = self.account.state();
        let mut entries = state.mailbox(&self.name)?.acl.entries();
        entries.find(|e| e.negative == negative && e.grantee.identifier() == name).cloned()
    }
}

/// A user's mailbox by the name that IMAP has for it, if it can be one.
pub(super) fn own_name(name: &str) -> Result<&str, Failure> {
    if name.eq_ignore_ascii_case(INBOX) {
        return Ok(INBOX);
    }
    if [OTHERS, SHARED].contains(&name.split('/').next().unwrap_or(name)) {
        return Err(refused(format!(
            "`{name}` cannot be a user's own mailbox: {OTHERS} and {SHARED} are for others'"
        )));
    }
    checked(name)
}

fn checked(name: &str) -> Result<&str, Failure> {
    let wild = |c: char| c.is_control() || c == '%' || c == '*';
    if name.split('/').any(str::is_empty) || name.contains(wild) || name.len() > 1024 {
        return Err(refused(format!(
            "`{name}` cannot be a mailbox: no empty level, control character, % or *, 1024 octets"
        )));
    }
    Ok(name)
}

impl Admin {
    /// Whose account this is, by name, and the account.
    pub(super) async fn owner(&self, owner: &Owner) -> Result<(String, Account), Failure> {
        match owner {
            Owner::Shared => Ok((String::new(), self.store.directory().await?)),
            Owner::User(name) => {
                let (name, row) = self.row(name).await?;
                Ok((name, self.store.account(row.id).await?))
            }
        }
    }

    /// Takes the name apart; `Shared/` may stand before that of a shared mailbox.
    pub(super) async fn place(&self, owner: &Owner, name: &str) -> Result<Place, Failure> {
        let name = match owner {
            Owner::User(_) if name.eq_ignore_ascii_case(INBOX) => INBOX,
            Owner::User(_) => name,
            Owner::Shared => {
                name.strip_prefix(SHARED).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name)
            }
        };
        let (owner, account) = self.owner(owner).await?;
        Ok(Place { account, owner, name: name.to_owned() })
    }

    /// Makes a mailbox.
    pub(super) async fn create_mailbox(
        &self,
        owner: &Owner,
        name: &str,
        private_seen: bool,
    ) -> Result<(), Failure> {
        let place = self.place(owner, name).await?;
        match owner {
            Owner::User(_) => own_name(&place.name)?,
            Owner::Shared if place.name.eq_ignore_ascii_case(INBOX) => {
                return Err(refused("INBOX is each user's own and cannot be shared by all"));
            }
            Owner::Shared => checked(&place.name)?,
        };
        let create = AccountChange::Create { name: place.name.clone(), special_use: Vec::new() };
        match self.store.submit_account(place.account.id(), create).await {
            Ok(_) if private_seen => self.configure_mailbox(&place, None, Some(true)).await,
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists) => Err(refused(format!(
                "there is a mailbox `{name}` already; `mailbox configure` changes its settings"
            ))),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a mailbox with its messages.
    pub(super) async fn delete_mailbox(&self, owner: &Owner, name: &str) -> Result<(), Failure> {
        let place = self.place(owner, name).await?;
        place.id()?;
        let delete = AccountChange::Delete { name: place.name };
        self.store.submit_account(place.account.id(), delete).await?;
        Ok(())
    }

    /// Changes the settings that are named.
    pub(super) async fn configure_mailbox(
        &self,
        place: &Place,
        conflicts_by_message: Option<bool>,
        private_seen: Option<bool>,
    ) -> Result<(), Failure> {
        let mailbox = place.id()?;
        if let Some(conflicts_by_message) = conflicts_by_message {
            self.store.submit(Change::Configure { mailbox, conflicts_by_message }).await?;
        }
        if let Some(private) = private_seen {
            let change = AccountChange::SetPrivateSeen { name: place.name.clone(), private };
            self.store.submit_account(place.account.id(), change).await?;
        }
        Ok(())
    }

    /// Changes an entry, or removes it.
    pub(super) async fn set_acl(
        &self,
        place: Place,
        identifier: &str,
        rights: Option<&str>,
    ) -> Result<(), Failure> {
        place.id()?;
        let said = Identifier::new(identifier).ok_or_else(|| {
            refused("expected whom the entry is about: a user, a group as $NAME, or anyone")
        })?;
        let (negative, name) = said.negative().map_or((false, said.as_str()), |name| (true, name));
        // No account ends between being looked up and being named here.
        let _alone = self.rows.lock().await;
        let (grantee, rights) = match rights {
            Some(text) => {
                let rights = RightsChange::parse(text)
                    .map_err(|error| refused(format!("`{text}`: expected {error}")))?;
                (self.grantee(name).await?, rights)
            }
            // Whoever it is about may be no more.
            None => {
                let entry = place.entry(negative, name).ok_or_else(|| {
                    refused(format!(
                        "there is no entry for `{identifier}`; `mailbox acl show` names all"
                    ))
                })?;
                (entry.grantee, RightsChange::Set(Rights::NONE))
            }
        };
        let Place { account, owner, name } = place;
        let change = AccountChange::SetAcl { name, grantee, negative, rights, owner };
        self.store.submit_account(account.id(), change).await?;
        Ok(())
    }

    async fn grantee(&self, name: &str) -> Result<Grantee, Failure> {
        if name == Identifier::ANYONE {
            return Ok(Grantee::Anyone);
        }
        if let Some(group) = name.strip_prefix(GROUP_PREFIX) {
            let directory = self.store.directory().await?.state();
            let known = directory.directory().groups().any(|(known, _)| known == group);
            return known.then(|| Grantee::Group(group.to_owned())).ok_or_else(|| {
                refused(format!("there is no group `{name}`; `group add {group} USER` makes it"))
            });
        }
        let (name, row) = self.row(name).await?;
        Ok(Grantee::User { account: row.id, name })
    }

    /// Sends the mailboxes of an account, or one of them, each with its entries.
    pub(super) async fn list_mailboxes(
        &self,
        owner: &Owner,
        only: Option<&str>,
        output: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Failure> {
        let (account, only) = match only {
            Some(name) => {
                let place = self.place(owner, name).await?;
                place.id()?;
                (place.account, Some(place.name))
            }
            None => (self.owner(owner).await?.1, None),
        };
        let state = account.state();
        let chosen =
            state.mailboxes().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name));
        for (name, entry) in chosen {
            let Some(id) = entry.id else { continue };
            match self.store.mailbox(id).await {
                Ok(mailbox) => tell(name, entry, &mailbox.state(), output).await?,
                // Deleted meanwhile.
                Err(Error::NonExistent) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

async fn tell(
    name: &str,
    entry: &MailboxEntry,
    state: &MailboxState,
    output: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mailbox = Listed {
        name: name.to_owned(),
        messages: state.exists(),
        octets: state.size(),
        special_use: entry.special_use.iter().map(ToString::to_string).collect(),
        private_seen: state.has_private_seen(),
        conflicts_by_message: state.conflicts_by_message(),
    };
    send(output, &Reply::Mailbox(mailbox)).await?;
    for entry in state.acl().entries() {
        let sign = if entry.negative { "-" } else { "" };
        let identifier = format!("{sign}{}", entry.grantee.identifier());
        let rights = entry.rights.to_string();
        send(output, &Reply::Entry(Entry { identifier, rights })).await?;
    }
    Ok(())
}
