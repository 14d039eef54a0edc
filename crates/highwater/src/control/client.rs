//! The other end of the control socket: what the commands use.
//!
//! # Invariants
//! - With a server running, the server does the work; without one this process opens the store itself, which on a
//!   directory takes the server's lock first.

use std::io;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncWriteExt as _, BufStream};
use tokio::net::UnixStream;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use super::Admin;
use super::protocol::{Reply, Request, SOCKET, receive, send};
use crate::config::Limits;
use crate::place::{OpenStore, Place, Use, mark};

/// A conversation with whoever holds the store.
pub(crate) struct Control {
    /// Requests go out here, replies come in.
    pub(crate) stream: BufStream<UnixStream>,
    own: Option<(OpenStore, JoinHandle<()>)>,
}

/// The control socket of the server whose directory this is; `None` where none runs.
async fn reach(place: &Place, missing: Missing) -> Result<Option<UnixStream>> {
    let data = place.directory();
    match place {
        Place::Directory(_) if missing == Missing::Refuse && !data.is_dir() => bail!(
            "there is no data directory {}: name the one that `serve` uses with --data",
            data.display()
        ),
        Place::Directory(_) => {}
        Place::Database(database) => match mark(data) {
            Some(mark) if mark == database.location.to_string() => {}
            Some(mark) if database.is_named => bail!(
                "{} is the directory of a node on {mark}, not on {}: leave out one of both",
                data.display(),
                database.location
            ),
            _ => return Ok(None),
        },
    }
    let socket = data.join(SOCKET);
    match UnixStream::connect(&socket).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| {
            format!("{} cannot be reached: are you the server's user?", socket.display())
        }),
    }
}

/// Whether a command may make a data directory where there is none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It may.
    Make,
    /// It is an error, and probably a mistyped name.
    Refuse,
}

impl Control {
    /// Reaches the server whose directory this is, or opens the store itself: of a database as another node.
    pub(crate) async fn open(place: &Place, missing: Missing) -> Result<Self> {
        if let Some(stream) = reach(place, missing).await? {
            return Ok(Self { stream: BufStream::new(stream), own: None });
        }
        let opened = tokio::task::block_in_place(|| OpenStore::open(place, Use::Command, None))?;
        let (ours, theirs) = UnixStream::pair().context("a pair of sockets cannot be made")?;
        let (evict, _) = broadcast::channel(1);
        let (store, data) = (opened.store.clone(), place.directory());
        let admin = Admin::new(store, data, Limits::default().message.0, evict);
        let task = tokio::spawn(admin.converse(theirs));
        Ok(Self { stream: BufStream::new(ours), own: Some((opened, task)) })
    }

    /// A conversation with a server in this process.
    pub(crate) fn beside(admin: Arc<Admin>) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair().context("a pair of sockets cannot be made")?;
        tokio::spawn(admin.converse(theirs));
        Ok(Self { stream: BufStream::new(ours), own: None })
    }

    /// Sends the request.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<()> {
        send(&mut self.stream, request).await.context("the request cannot be sent")?;
        self.stream.flush().await.context("the request cannot be sent")
    }

    /// Sends the request; answers all replies but the last.
    pub(crate) async fn ask_all(&mut self, request: &Request) -> Result<Vec<Reply>> {
        self.ask(request).await?;
        let mut replies = Vec::new();
        while let Some(reply) = self.reply().await? {
            replies.push(reply);
        }
        Ok(replies)
    }

    /// The next reply that is not the last; `None` when all is done.
    pub(crate) async fn reply(&mut self) -> Result<Option<Reply>> {
        match receive(&mut self.stream).await.context("the reply cannot be read")? {
            Some(Reply::Done) => Ok(None),
            Some(Reply::Failed { why }) => bail!(why),
            Some(reply) => Ok(Some(reply)),
            None => bail!("the server ended the conversation: see its log, and try again"),
        }
    }

    /// Ends the conversation, and closes the store if this process opened it.
    pub(crate) async fn close(self) -> Result<()> {
        drop(self.stream);
        if let Some((opened, task)) = self.own {
            task.await.context("the work ended early")?;
            opened.close().await?;
        }
        Ok(())
    }
}
