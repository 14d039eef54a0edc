//! GETQUOTA (RFC 9208 §4.1.1). A quota root is an account, by its name.

use crate::names::SHARED;
use crate::refusal::{Refusal, Stop};
use crate::session::{Reply, Session};
use crate::shared::Sink;
use imap::acl::Rights;
use imap::encode::{self, Code};
use imap::quota::{QuotaRoot, Resource, ResourceUsage};
use store::Account;

/// Octets in a unit of STORAGE (RFC 9208 §5.1).
const STORAGE_UNIT: u64 = 1024;

impl Session {
    /// Shows usage and limits of the user's own root, or of that of the shared mailboxes to those who may read
    /// one of them and put messages there.
    pub(crate) fn get_quota<S: Sink>(
        &mut self,
        root: &QuotaRoot,
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        let login = self.login()?;
        let account = if root.0 == login.identity.name.as_bytes() {
            &login.account
        } else if root.0 == SHARED.as_bytes() && self.may_see_shared()? {
            &login.directory
        } else {
            let text = "There is no such quota root: GETQUOTAROOT names those of a mailbox";
            return Err(Refusal::coded(Code::NonExistent, text).into());
        };
        tell_quota(root, account, sink);
        Ok(Reply::ok("That is the quota"))
    }

    fn may_see_shared(&self) -> Result<bool, Refusal> {
        let login = self.login()?;
        let directory = login.directory();
        let needed = Rights::READ.union(Rights::INSERT);
        let rights = |name| directory.rights(name, login.identity.account, directory.directory());
        Ok(directory.mailboxes().any(|(name, _)| rights(name).contains(needed)))
    }
}

/// Writes QUOTA: the resources that have a limit.
pub(super) fn tell_quota<S: Sink>(root: &QuotaRoot, account: &Account, sink: &mut S) {
    let (state, usage) = (account.state(), account.usage());
    let limits = state.quota();
    let all = [
        (
            Resource::Storage,
            usage.octets.div_ceil(STORAGE_UNIT),
            limits.octets.map(|l| l / STORAGE_UNIT),
        ),
        (Resource::Message, usage.messages, limits.messages),
        (Resource::Mailbox, state.count() as u64, limits.mailboxes),
    ];
    let limited = all.into_iter().filter_map(|(resource, used, limit)| {
        limit.map(|limit| ResourceUsage { resource, used, limit })
    });
    encode::quota(sink.buffer(), root, &limited.collect::<Vec<_>>());
}
