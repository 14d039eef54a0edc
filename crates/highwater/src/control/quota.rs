//! Limits of accounts, and what is used of them.

use std::io;

use store::{Account, AccountChange, Error, Quota};
use tokio::io::AsyncWrite;

use super::protocol::{Limit, Owner, Reply, Used, send};
use super::{Admin, Failure};

impl Admin {
    /// Changes the limits of octets, messages and mailboxes that are named.
    pub(super) async fn set_quota(
        &self,
        owner: &Owner,
        limits: [Option<Limit>; 3],
    ) -> Result<(), Failure> {
        let _alone = self.rows.lock().await;
        let (_, account) = self.owner(owner).await?;
        let mut quota = account.state().quota();
        let places = [&mut quota.octets, &mut quota.messages, &mut quota.mailboxes];
        for (place, limit) in places.into_iter().zip(limits) {
            match limit {
                Some(Limit::AtMost(limit)) => *place = Some(limit),
                Some(Limit::None) => *place = None,
                None => {}
            }
        }
        self.store.submit_account(account.id(), AccountChange::SetQuota(quota)).await?;
        Ok(())
    }

    /// Sends usage and limits of one account, or of all of them.
    pub(super) async fn show_quota(
        &self,
        owner: Option<Owner>,
        output: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Failure> {
        if let Some(owner) = owner {
            let (name, account) = self.owner(&owner).await?;
            return Ok(tell(name, &account, output).await?);
        }
        for (name, row) in self.store.account_rows().await? {
            match self.store.account(row.id).await {
                Ok(account) => tell(name, &account, output).await?,
                // Deleted meanwhile.
                Err(Error::NonExistent) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let shared = self.store.directory().await?;
        Ok(tell(String::new(), &shared, output).await?)
    }
}

/// Sends what one account uses; the one without a name is that of the shared mailboxes.
async fn tell(
    name: String,
    account: &Account,
    output: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let (state, usage) = (account.state(), account.usage());
    let Quota { octets, messages, mailboxes } = state.quota();
    let used = |used, limit| Used { used, limit };
    let quota = Reply::Quota {
        owner: if name.is_empty() { Owner::Shared } else { Owner::User(name) },
        octets: used(usage.octets, octets),
        messages: used(usage.messages, messages),
        mailboxes: used(state.count() as u64, mailboxes),
    };
    send(output, &quota).await
}
