//! Connections that are kept: so many that write, so many that read.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::OpenError;
use crate::link::{Link, PATIENCE};
use crate::place::Place;

/// Connections of one kind.
pub(crate) struct Pool {
    place: Arc<Place>,
    runtime: Handle,
    idle: Arc<Mutex<Vec<Link>>>,
    room: Arc<Semaphore>,
}

/// A connection in use; it goes back when it is dropped, unless it is given up.
pub(crate) struct Lent {
    link: Option<Link>,
    idle: Arc<Mutex<Vec<Link>>>,
    _room: OwnedSemaphorePermit,
    /// Whether it was made for this use.
    pub(crate) is_new: bool,
}

impl Pool {
    pub(crate) fn new(place: Arc<Place>, runtime: Handle, size: usize) -> Self {
        let room = Arc::new(Semaphore::new(size.max(1)));
        Self { place, runtime, idle: Arc::default(), room }
    }

    /// A connection: one that is idle, or a new one.
    pub(crate) async fn lend(&self) -> Result<Lent, OpenError> {
        let closed = |_| OpenError::Connect {
            place: self.place.shown.clone(),
            why: "the node is shutting down".into(),
        };
        let busy = |_| OpenError::Connect {
            place: self.place.shown.clone(),
            why: "every connection has been busy for 10 seconds".into(),
        };
        let room = timeout(PATIENCE, Arc::clone(&self.room).acquire_owned());
        let room = room.await.map_err(busy)?.map_err(closed)?;
        let lent = |link, is_new| Lent {
            link: Some(link),
            idle: Arc::clone(&self.idle),
            _room: room,
            is_new,
        };
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(link) if link.is_whole() => return Ok(lent(link, false)),
                Some(_) => {}
                None => {
                    let link = Link::connect(&self.place, &self.runtime, None).await?;
                    return Ok(lent(link, true));
                }
            }
        }
    }
}

impl Lent {
    /// Closes it instead of giving it back.
    pub(crate) fn give_up(mut self) {
        self.link = None;
    }
}

impl std::ops::Deref for Lent {
    type Target = Link;

    fn deref(&self) -> &Link {
        // It is there until the lent one is gone.
        match &self.link {
            Some(link) => link,
            None => unreachable!("a connection that was given up is used"),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(link) = self.link.take().filter(Link::is_whole) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        }
    }
}
