//! One IMAP connection: reads for a session, sends what it answers, and keeps the time.
//!
//! # Invariants
//! - A session is asked for one thing at a time: what was received, or what is to be pushed.
//! - What a client sent in clear text behind STARTTLS is never heard (RFC 3501 §6.2.1).
//! - A connection ends when its account is deleted or disabled or gets a new password.
//! - When the server stops, a command that runs is finished, and none is begun.
//!
//! # Standards
//! RFC 3501 §5.4 (autologout), RFC 8314 (implicit TLS).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use imap::encode::{self, Code, Status};
use session::{Bye, Closed, Next, Peer, Session, Sink as _};
use store::AccountId;
use tokio::net::TcpStream;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, timeout, timeout_at};

use crate::context::Context;
use crate::doors::{Guard, Refused};
use crate::logins::{Eviction, LetIn, LoggedIn};
use crate::wire::{Stream, Wire, is_loopback};

/// How long a client that is refused may take for its handshake.
const TIME_TO_REFUSE: Duration = Duration::from_secs(5);

/// What happened while the session waited.
enum Heard {
    Octets(Vec<u8>),
    Change,
    Nothing,
    End,
    Stopping,
    Evicted,
}

/// Holds the conversation from the greeting to its end.
pub(crate) async fn converse(
    context: Arc<Context>,
    stream: TcpStream,
    address: SocketAddr,
    implicit_tls: bool,
) {
    let born = Instant::now();
    let mut wire = Wire::new(Stream::Tcp(stream), context.limits.time_to_write.0);
    let mut peer = Peer {
        secure: false,
        loopback: is_loopback(address),
        starttls_offered: !implicit_tls,
        channel_binding: None,
        address: address.to_string(),
    };
    let until = born + context.limits.time_before_login.0;
    if implicit_tls && !secure(&context, &mut wire, &mut peer, until).await {
        return;
    }
    let session = Session::new(Arc::clone(&context.shared), peer.clone());
    let evicted = context.evict.subscribe();
    let mut driver = Driver { context, wire, session, peer, until, evicted, account: None };
    if driver.run().await.is_ok() {
        driver.wire.finish().await;
    }
}

/// Says that there is no room, and why.
pub(crate) async fn refuse(context: &Context, stream: TcpStream, why: Refused, implicit_tls: bool) {
    let say = async {
        let mut wire = Wire::new(Stream::Tcp(stream), TIME_TO_REFUSE);
        if implicit_tls && wire.secure(&context.tls).await.is_err() {
            return;
        }
        let code = Some(&Code::Limit);
        encode::untagged(wire.buffer(), Status::Bye, code, &why.to_string());
        wire.finish().await;
    };
    if timeout(TIME_TO_REFUSE, say).await.is_err() {
        tracing::debug!("a client that was refused did not listen");
    }
}

/// Does the handshake in the time that is left; false when it failed.
async fn secure(context: &Context, wire: &mut Wire, peer: &mut Peer, until: Instant) -> bool {
    match timeout_at(until, wire.secure(&context.tls)).await {
        Ok(Ok(binding)) => {
            peer.secure = true;
            peer.starttls_offered = false;
            peer.channel_binding = binding;
            true
        }
        Ok(Err(error)) => {
            tracing::debug!(peer = peer.address, %error, "a TLS handshake failed");
            false
        }
        Err(_) => {
            tracing::debug!(peer = peer.address, "a TLS handshake took too long");
            false
        }
    }
}

struct Driver {
    context: Arc<Context>,
    wire: Wire,
    session: Session,
    peer: Peer,
    /// When the client is sent away unless it has logged in, or been heard, by then.
    until: Instant,
    /// Accounts whose connections are to end.
    evicted: broadcast::Receiver<Eviction>,
    account: Option<(Guard<AccountId>, LoggedIn)>,
}

impl Driver {
    /// Drives the session until either side ends it.
    async fn run(&mut self) -> Result<(), Closed> {
        self.session.greet(&mut self.wire);
        loop {
            self.wire.flush().await?;
            let next = match self.listen().await {
                Heard::Octets(octets) => {
                    let next = self.session.receive(&octets, &mut self.wire).await?;
                    if self.session.is_authenticated() {
                        self.until = Instant::now() + self.context.limits.time_idle.0;
                    }
                    next
                }
                Heard::Change => self.session.push(&mut self.wire).await?,
                Heard::Nothing => return self.close(Bye::Idle),
                Heard::Stopping => return self.close(Bye::ShuttingDown),
                Heard::Evicted => {
                    let text = "The account was changed: log in again";
                    encode::untagged(self.wire.buffer(), Status::Bye, None, text);
                    return Ok(());
                }
                Heard::End => return Err(Closed),
            };
            match next {
                Next::Read if self.context.is_stopping() => return self.close(Bye::ShuttingDown),
                Next::Read if !self.session.is_idle() => self.wire.expect_more(),
                Next::Read => {}
                Next::Close => return Ok(()),
                Next::StartTls => {
                    self.wire.flush().await?;
                    let handshake =
                        secure(&self.context, &mut self.wire, &mut self.peer, self.until);
                    if !handshake.await {
                        return Err(Closed);
                    }
                    self.session.secured(self.peer.clone());
                }
            }
            if !self.admit() {
                return self.close(Bye::Overload);
            }
        }
    }

    fn close(&mut self, why: Bye) -> Result<(), Closed> {
        self.session.close(why, &mut self.wire);
        Ok(())
    }

    /// Waits for the client, for a change to tell, for the time to run out, or for the server to stop.
    async fn listen(&mut self) -> Heard {
        let own = self.session.account().map(LetIn::from);
        let changed = self.session.waiting_for();
        let change = async {
            match changed {
                Some(changed) => changed.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.context.stopped() => Heard::Stopping,
            () = evicted(&mut self.evicted, own) => Heard::Evicted,
            read = timeout_at(self.until, self.wire.read()) => match read {
                Ok(Ok(octets)) if octets.is_empty() => Heard::End,
                Ok(Ok(octets)) => Heard::Octets(octets),
                Ok(Err(_)) => Heard::End,
                Err(_) => Heard::Nothing,
            },
            () = change => Heard::Change,
        }
    }

    /// Counts the connection in to the account once it has logged in; false when there is no room.
    fn admit(&mut self) -> bool {
        if self.account.is_some() {
            return true;
        }
        let Some(identity) = self.session.account() else { return true };
        let guard = self.context.doors.enter_account(identity.account);
        self.account = guard.map(|guard| (guard, self.context.logins.enter(identity)));
        tracing::debug!(account = identity.account.0, peer = self.peer.address, "logged in");
        self.account.is_some()
    }
}

/// Ready when the connections of who was let in as this are to end.
async fn evicted(evictions: &mut broadcast::Receiver<Eviction>, own: Option<LetIn>) {
    loop {
        match evictions.recv().await {
            Ok(eviction) if own.is_some_and(|own| eviction.is_of(own)) => return,
            // Too many to have heard them all: it may have been meant.
            Err(RecvError::Lagged(_)) if own.is_some() => return,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
