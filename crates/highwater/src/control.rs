//! Administration: every command that reads or writes the store is carried out here, in the one process that
//! holds it.
//!
//! A running server listens on a socket in its data directory. Without a server the command opens the store
//! itself and speaks to this same code over a pair of sockets.
//!
//! # Invariants
//! - Only the user that runs the server, or root, is heard.
//! - One request a connection; lines are bounded; a request that is cut off leaves nothing by half.

pub(crate) mod client;
mod export;
mod group;
mod import;
mod journal;
mod mailbox;
pub(crate) mod protocol;
mod quota;

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use store::{AccountId, AccountRow, Error, Store};
use tokio::io::{AsyncWrite, AsyncWriteExt as _, BufStream};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;

use crate::auth::credentials::Record;
use crate::auth::{account_name, new_name};
use crate::logins::Eviction;
use protocol::{Reply, Request, SOCKET, receive, send};

pub(crate) use journal::{hex, key};

/// What administration works on.
pub(crate) struct Admin {
    store: Store,
    data: PathBuf,
    message_max: u64,
    importing: Mutex<HashSet<AccountId>>,
    /// Accounts are changed one at a time: a change reads the row before it writes it.
    rows: tokio::sync::Mutex<()>,
    /// Says whose connections are to end.
    evict: broadcast::Sender<Eviction>,
}

/// Why a request was not carried out.
enum Failure {
    /// The answer.
    Refused(String),
    /// The other side is gone or does not keep to the protocol.
    Gone(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error.to_string())
    }
}

fn refused(why: impl Into<String>) -> Failure {
    Failure::Refused(why.into())
}

/// Binds the control socket of a data directory whose lock the caller holds.
pub(crate) fn bind(data: &Path) -> io::Result<UnixListener> {
    let (unfinished, socket) = (data.join("control.new"), data.join(SOCKET));
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&unfinished)?;
    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o600))?;
    // Only now can it be found: nobody meets it with other permissions.
    std::fs::rename(&unfinished, &socket)?;
    Ok(listener)
}

impl Admin {
    /// Administration of this store.
    pub(crate) fn new(
        store: Store,
        data: &Path,
        message_max: u64,
        evict: broadcast::Sender<Eviction>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            data: data.into(),
            message_max,
            importing: Mutex::default(),
            rows: tokio::sync::Mutex::default(),
            evict,
        })
    }

    /// Hears one request and carries it out.
    pub(crate) async fn converse(self: Arc<Self>, stream: UnixStream) {
        match stream.peer_cred() {
            Ok(peer) if [0, rustix::process::geteuid().as_raw()].contains(&peer.uid()) => {}
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), "another user was refused at the control socket");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "nothing is known about a peer at the control socket");
                return;
            }
        }
        let mut stream = BufStream::with_capacity(64 * 1024, 64 * 1024, stream);
        if let Err(error) = self.hear(&mut stream).await {
            tracing::debug!(%error, "a conversation at the control socket ended early");
        }
    }

    async fn hear(&self, stream: &mut BufStream<UnixStream>) -> io::Result<()> {
        let reply = match receive::<Request>(stream).await {
            Ok(None) => return Ok(()),
            Ok(Some(request)) => match self.obey(request, stream).await {
                Ok(()) => Reply::Done,
                Err(Failure::Refused(why)) => Reply::Failed { why },
                Err(Failure::Gone(error)) => return Err(error),
            },
            Err(error) => Reply::Failed { why: error.to_string() },
        };
        send(stream, &reply).await?;
        stream.flush().await
    }

    async fn obey(
        &self,
        request: Request,
        stream: &mut BufStream<UnixStream>,
    ) -> Result<(), Failure> {
        match request {
            Request::UserAdd { name, password } => self.add(&name, password, false).await,
            Request::UserPasswd { name, password } => {
                let record = derive(password).await?;
                self.change(&name, |old| old.password.clone_from(&record.password)).await
            }
            Request::UserDelete { name } => self.delete(&name).await,
            Request::UserDisable { name, disabled } => {
                self.change(&name, |record| record.disabled = disabled).await
            }
            Request::UserConfigure { name, without } => {
                let without = switched_off(&without)?;
                self.change(&name, |record| record.without = without).await
            }
            Request::UserList => self.list(stream).await,
            Request::MailboxCreate { owner, mailbox, private_seen } => {
                self.create_mailbox(&owner, &mailbox, private_seen).await
            }
            Request::MailboxDelete { owner, mailbox } => {
                self.delete_mailbox(&owner, &mailbox).await
            }
            Request::MailboxConfigure { owner, mailbox, conflicts_by_message, private_seen } => {
                let place = self.place(&owner, &mailbox).await?;
                self.configure_mailbox(&place, conflicts_by_message, private_seen).await
            }
            Request::MailboxSetAcl { owner, mailbox, identifier, rights } => {
                let place = self.place(&owner, &mailbox).await?;
                self.set_acl(place, &identifier, rights.as_deref()).await
            }
            Request::MailboxList { owner, mailbox } => {
                self.list_mailboxes(&owner, mailbox.as_deref(), stream).await
            }
            Request::GroupMember { group, user, member } => {
                self.set_member(&group, &user, member).await
            }
            Request::GroupList => self.list_groups(stream).await,
            Request::QuotaSet { owner, octets, messages, mailboxes } => {
                self.set_quota(&owner, [octets, messages, mailboxes]).await
            }
            Request::QuotaShow { owner } => self.show_quota(owner, stream).await,
            Request::Import { user } => self.import(&user, stream).await,
            Request::Export { user, mailbox } => {
                self.export(&user, mailbox.as_deref(), stream).await
            }
        }
    }

    /// Makes the account `demo` unless it is there; answers its password if it was made now.
    pub(crate) async fn make_demo(&self) -> Result<Option<String>, String> {
        let rows = self.store.account_rows().await.map_err(|error| error.to_string())?;
        if !rows.is_empty() {
            return Ok(None);
        }
        let password = crate::auth::credentials::generate_password().map_err(|e| e.to_string())?;
        match self.add("demo", password.clone(), true).await {
            Ok(()) => Ok(Some(password)),
            // Another node that started at the same moment has made it.
            Err(_) if self.store.account_row("demo").await.is_ok_and(|row| row.is_some()) => {
                Ok(None)
            }
            Err(Failure::Refused(why)) => Err(why),
            Err(Failure::Gone(error)) => Err(error.to_string()),
        }
    }

    /// Makes an account for an ephemeral server.
    pub(crate) async fn make_account(&self, name: &str, password: &str) -> Result<(), String> {
        match self.add(name, password.to_owned(), false).await {
            Ok(()) => Ok(()),
            Err(Failure::Refused(why)) => Err(why),
            Err(Failure::Gone(error)) => Err(error.to_string()),
        }
    }

    async fn add(&self, name: &str, password: String, loopback_only: bool) -> Result<(), Failure> {
        let name = new_name(name).map_err(|why| refused(format!("`{name}`: {why}")))?;
        let mut record = derive(password).await?;
        record.loopback_only = loopback_only;
        let _alone = self.rows.lock().await;
        match self.store.create_account(&name, record.encode()).await {
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists) => Err(refused(format!(
                "there is an account `{name}` already; `user passwd {name}` changes its password"
            ))),
            Err(error) => Err(error.into()),
        }
    }

    async fn row(&self, name: &str) -> Result<(String, AccountRow), Failure> {
        let unknown = || refused(format!("there is no account `{name}`; `user list` names all"));
        let canonical = account_name(name).map_err(|_| unknown())?;
        let row = self.store.account_row(&canonical).await?.ok_or_else(unknown)?;
        Ok((canonical, row))
    }

    async fn change(&self, name: &str, change: impl FnOnce(&mut Record)) -> Result<(), Failure> {
        let _alone = self.rows.lock().await;
        let (name, row) = self.row(name).await?;
        let mut record = Record::decode(&row.record).ok_or_else(|| {
            refused(format!("the record of `{name}` cannot be read: a newer program wrote it"))
        })?;
        change(&mut record);
        self.store.update_account(&name, record.encode()).await?;
        self.end_connections(Eviction { account: row.id, version: row.version + 1 });
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), Failure> {
        let _alone = self.rows.lock().await;
        let (name, row) = self.row(name).await?;
        self.store.delete_account(&name).await?;
        self.end_connections(Eviction::of_all(row.id));
        let removed = tokio::task::block_in_place(|| journal::Journal::remove(&self.data, row.id));
        if let Err(error) = removed {
            tracing::warn!(%error, "the account's import journal could not be removed");
        }
        Ok(())
    }

    /// Whoever is logged in must do so again, by the account's new row.
    fn end_connections(&self, eviction: Eviction) {
        // An error means that there are no connections.
        let _ = self.evict.send(eviction);
    }

    async fn list(&self, output: &mut (impl AsyncWrite + Unpin)) -> Result<(), Failure> {
        for (name, row) in self.store.account_rows().await? {
            let record = Record::decode(&row.record);
            let reply = Reply::User {
                name,
                disabled: record.as_ref().is_none_or(|record| record.disabled),
                loopback_only: record.as_ref().is_some_and(|record| record.loopback_only),
                without: record.map(|record| record.without).unwrap_or_default(),
            };
            send(output, &reply).await?;
        }
        Ok(())
    }

    /// Keeps a second import for the account out until the guard is dropped.
    fn begin_import(&self, account: AccountId) -> Option<ImportGuard<'_>> {
        let mut importing = self.importing.lock().unwrap_or_else(PoisonError::into_inner);
        importing.insert(account).then_some(ImportGuard { admin: self, account })
    }
}

/// Ends an import when dropped.
struct ImportGuard<'a> {
    admin: &'a Admin,
    account: AccountId,
}

impl Drop for ImportGuard<'_> {
    fn drop(&mut self) {
        let mut importing = self.admin.importing.lock().unwrap_or_else(PoisonError::into_inner);
        importing.remove(&self.account);
    }
}

/// Capabilities by the names that CAPABILITY lists them under.
fn switched_off(names: &[String]) -> Result<Vec<String>, Failure> {
    let known = |name: &String| {
        let known = session::capability::names().find(|known| known.eq_ignore_ascii_case(name));
        known.map(str::to_owned).ok_or_else(|| {
            let all = session::capability::names().collect::<Vec<_>>().join(", ");
            refused(format!("`{name}` cannot be switched off; what can be is {all}"))
        })
    };
    names.iter().map(known).collect()
}

/// A record for the password, computed off the reactor.
async fn derive(password: String) -> Result<Record, Failure> {
    tokio::task::spawn_blocking(move || Record::new(&password))
        .await
        .map_err(|error| refused(error.to_string()))?
        .map_err(|error| refused(error.to_string()))
}
