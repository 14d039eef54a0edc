//! SETACL (RFC 4314 §3.1) and DELETEACL (§3.2).

use crate::names::Place;
use crate::refusal::{Refusal, Stop};
use crate::session::{Reply, Session};
use imap::acl::{Identifier, Rights, RightsChange};
use imap::command::MailboxName;
use imap::encode::Code;
use store::{AccountChange, Grantee};

impl Session {
    /// Changes one entry.
    pub(crate) async fn set_acl(
        &mut self,
        mailbox: &MailboxName,
        identifier: &Identifier,
        rights: RightsChange,
    ) -> Result<Reply, Stop> {
        let place = self.place(&mailbox.0).await?;
        place.find(Rights::ADMINISTER)?;
        let grantee = self.grantee(identifier).await?;
        self.change_acl(place, grantee, identifier, rights).await?;
        Ok(Reply::ok("The rights are set"))
    }

    /// Removes one entry, whoever it is about; one that is not there is no error.
    pub(crate) async fn delete_acl(
        &mut self,
        mailbox: &MailboxName,
        identifier: &Identifier,
    ) -> Result<Reply, Stop> {
        let place = self.place(&mailbox.0).await?;
        place.find(Rights::ADMINISTER)?;
        let (negative, name) = signed(identifier);
        let entry = place.state.mailbox(&place.name).and_then(|entry| {
            let mut entries = entry.acl.entries();
            entries.find(|e| e.negative == negative && e.grantee.identifier() == name)
        });
        if let Some(grantee) = entry.map(|entry| entry.grantee.clone()) {
            let nothing = RightsChange::Set(Rights::NONE);
            self.change_acl(place, grantee, identifier, nothing).await?;
        }
        Ok(Reply::ok("The entry is gone"))
    }

    async fn change_acl(
        &mut self,
        place: Place,
        grantee: Grantee,
        identifier: &Identifier,
        rights: RightsChange,
    ) -> Result<(), Refusal> {
        let user = self.login()?.identity.account;
        let change = AccountChange::SetAcl {
            name: place.name,
            grantee,
            negative: signed(identifier).0,
            rights,
            owner: place.owner_name,
        };
        self.shared.store.submit_account_by(user, place.owner, change).await?;
        Ok(())
    }

    /// Whom the identifier names now.
    pub(super) async fn grantee(&mut self, identifier: &Identifier) -> Result<Grantee, Refusal> {
        let (_, name) = signed(identifier);
        if name == Identifier::ANYONE {
            return Ok(Grantee::Anyone);
        }
        if let Some(group) = name.strip_prefix(store::acl::GROUP_PREFIX) {
            let directory = self.login()?.directory();
            let known = directory.directory().groups().any(|(known, _)| known == group);
            let text = "There is no such group: the administrator makes groups";
            return known
                .then(|| Grantee::Group(group.to_owned()))
                .ok_or_else(|| Refusal::coded(Code::Cannot, text));
        }
        let row = self.shared.store.account_row(name).await?;
        let row = row.ok_or_else(|| {
            Refusal::coded(Code::Cannot, "Expected a user, a group as $name, or anyone")
        })?;
        Ok(Grantee::User { account: row.id, name: name.to_owned() })
    }
}

/// Whether the identifier takes rights away, and whom it names.
pub(super) fn signed(identifier: &Identifier) -> (bool, &str) {
    match identifier.negative() {
        Some(name) => (true, name),
        None => (false, identifier.as_str()),
    }
}
