//! Bodies on their way in and out: octets are durable before anything refers to them.
//!
//! # Invariants
//! - A [`NewBody`] exists only after its octets are synced, so a batch never carries body octets [H1].
//! - What comes in goes to disk as it comes; memory does not grow with the literal [H5].
//! - The structure is computed once, at arrival, off the reactor.

use crate::change::Error;
use crate::codec::{Reader, Writer};
use crate::engine::{BodyId, BodyRef, BodyRow, BodyStore, BodyWriter, EngineError};
use crate::store::Store;
use imap::message::Structure;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A message being received.
pub struct Receiver {
    store: Store,
    writer: Box<dyn BodyWriter>,
    /// All octets so far, as long as they are few: then nothing must be read back.
    octets: Option<Vec<u8>>,
}

/// Up to this many octets a message is placed and looked at where it arrives; a longer one where work may block.
const SMALL_MAX: usize = 64 * 1024;

impl Receiver {
    pub(crate) fn new(store: Store, writer: Box<dyn BodyWriter>) -> Self {
        Self { store, writer, octets: Some(Vec::new()) }
    }

    /// Takes the next octets.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Broken`].
    pub fn write(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.octets = self.octets.take().filter(|kept| kept.len() + octets.len() <= SMALL_MAX);
        if let Some(kept) = &mut self.octets {
            kept.extend_from_slice(octets);
        }
        Ok(self.writer.write(octets)?)
    }

    /// Ends the message: its octets are in place and its structure is known, but it is not durable yet.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Broken`].
    pub async fn end(self) -> Result<Received, Error> {
        let Self { store, writer, octets } = self;
        if let Some(octets) = octets {
            let body = writer.finish()?;
            return Ok(received(&store, body, &imap::message::analyse(&octets)));
        }
        let inner = store.clone();
        let place = move || {
            let body = writer.finish()?;
            let structure = analyse(inner.body_store(), &body)?;
            Ok(received(&inner, body, &structure))
        };
        store.blocking(place).await
    }

    /// Ends the message: when this answers, its octets are durable and its structure is known.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Broken`].
    pub async fn finish(self) -> Result<NewBody, Error> {
        let store = self.store.clone();
        let received = self.end().await?;
        let mut bodies = store.make_durable(vec![received]).await?;
        bodies.pop().ok_or(Error::NonExistent)
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

/// A message whose octets are in place and not durable yet: see [`Store::make_durable`].
#[derive(Debug)]
pub struct Received {
    row: BodyRow,
}

impl Store {
    /// Makes received messages durable, with one sync for all of them and for whoever asks at the same time.
    ///
    /// # Errors
    /// [`Error::Broken`]: then nothing more can be written.
    pub async fn make_durable(&self, received: Vec<Received>) -> Result<Vec<NewBody>, Error> {
        let store = self.clone();
        let sync = move || {
            if let Err(error) = store.body_store().sync() {
                // Which bodies are on the disk is unknown now: nothing may be written that refers to one [H1].
                if let EngineError::Broken(why) = &error {
                    store.refuse_writes(why);
                }
                return Err(error.into());
            }
            Ok(())
        };
        self.blocking(sync).await?;
        let body =
            |received: Received| NewBody { row: Arc::new(received.row), committed: Arc::default() };
        Ok(received.into_iter().map(body).collect())
    }
}

fn received(store: &Store, body: BodyRef, structure: &Structure) -> Received {
    let mut w = Writer::default();
    w.byte(1);
    w.wide((u128::from(store.clock().random()) << 64) | u128::from(store.clock().random()));
    w.octets(structure.as_bytes());
    Received { row: BodyRow { id: store.engine().next_body(), body, meta: w.out } }
}

fn analyse(bodies: &dyn BodyStore, body: &BodyRef) -> Result<Structure, EngineError> {
    let mut octets = Vec::with_capacity(usize::try_from(body.len).unwrap_or(0));
    bodies.read(body, 0..body.len, &mut octets)?;
    Ok(imap::message::analyse(&octets))
}

/// A message whose octets are durable and to which nothing refers yet. Clones share the octets.
#[derive(Clone)]
pub struct NewBody {
    pub(crate) row: Arc<BodyRow>,
    /// Set once a commit has written the row.
    pub(crate) committed: Arc<AtomicBool>,
}

impl NewBody {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> BodyId {
        self.row.id
    }

    /// Its length in octets.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an empty message is a message like others")]
    pub fn len(&self) -> u64 {
        self.row.body.len
    }
}

impl fmt::Debug for NewBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewBody({}, {} octets)", self.row.id.0, self.row.body.len)
    }
}

/// A stored message: where its octets are and what was computed about it at arrival.
#[derive(Debug)]
pub struct Body {
    /// Where its octets are.
    pub body: BodyRef,
    /// Envelope, body structure and the offsets of its parts.
    pub structure: Structure,
    /// A random number that stays with the octets through COPY and MOVE.
    pub email_id: u128,
}

impl Body {
    pub(crate) fn decode(row: BodyRow) -> Result<Self, EngineError> {
        let mut r = Reader::new(&row.meta);
        crate::delta::version(&mut r)?;
        let email_id = r.wide()?;
        let structure = Structure::from_bytes(r.octets()?)
            .map_err(|_| EngineError::Damaged(format!("the structure of body {}", row.id.0)))?;
        r.end()?;
        Ok(Self { body: row.body, structure, email_id })
    }
}
