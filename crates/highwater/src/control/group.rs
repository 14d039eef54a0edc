//! Groups: whom an entry for `$NAME` in an access control list is about.

use store::acl::GROUP_PREFIX;
use store::{AccountChange, AccountId};
use tokio::io::AsyncWrite;

use super::protocol::{Reply, send};
use super::{Admin, Failure, refused};
use crate::auth::new_name;

impl Admin {
    /// Puts a user into a group, or takes them out; a group is there while it has members.
    pub(super) async fn set_member(
        &self,
        group: &str,
        user: &str,
        member: bool,
    ) -> Result<(), Failure> {
        let group = group.strip_prefix(GROUP_PREFIX).unwrap_or(group);
        let group = new_name(group).map_err(|why| refused(format!("`{group}`: {why}")))?;
        // No account ends between being looked up and being named here.
        let _alone = self.rows.lock().await;
        let (name, row) = self.row(user).await?;
        let directory = self.store.directory().await?.state();
        if !member && !directory.directory().is_member(&group, row.id) {
            return Err(refused(format!(
                "`{name}` is not in the group `{group}`; `group list` names who is"
            )));
        }
        let change = AccountChange::SetMember { group, account: row.id, name, member };
        self.store.submit_account(AccountId::SHARED, change).await?;
        Ok(())
    }

    /// Sends the members of all groups.
    pub(super) async fn list_groups(
        &self,
        output: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Failure> {
        let directory = self.store.directory().await?.state();
        for (group, members) in directory.directory().groups() {
            for user in members {
                let member = Reply::Member { group: group.to_owned(), user: user.to_owned() };
                send(output, &member).await?;
            }
        }
        Ok(())
    }
}
