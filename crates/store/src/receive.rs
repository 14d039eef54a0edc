//! Bodies on their way in and out: octets are durable before anything refers to them.
//!
//! # Invariants
//! - Nothing refers to a body before its octets are durable [H1]: where the committer is the only writer, it syncs them
//!   once for all of a batch; where bodies are far away, they are durable before the batch takes its logs.
//! - What comes in goes to disk as it comes; memory does not grow with the literal [H5].
//! - The structure is computed once, at arrival, off the reactor.
//! - Every octet that is read was checked: a CRC for each block of a body is kept with its structure [H8].

use crate::change::Error;
use crate::codec::{Reader, Writer};
use crate::engine::{BodyId, BodyRef, BodyRow, BodyStore, BodyWriter, EngineError};
use crate::store::Store;
use imap::message::Structure;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A message being received.
pub struct Receiver {
    store: Store,
    writer: Box<dyn BodyWriter>,
    /// All octets so far, as long as they are few: then nothing must be read back.
    octets: Option<Vec<u8>>,
    blocks: Blocks,
}

/// The CRC of each block of a body.
#[derive(Default)]
struct Blocks {
    done: Vec<u32>,
    hasher: crc32fast::Hasher,
    /// Octets in the block that is being filled.
    filled: usize,
}

/// Octets in a block; the last one may be shorter.
const BLOCK: u64 = 64 * 1024;

impl Blocks {
    fn add(&mut self, mut octets: &[u8]) {
        let block = usize::try_from(BLOCK).unwrap_or(usize::MAX);
        while !octets.is_empty() {
            let (here, rest) = octets.split_at(octets.len().min(block - self.filled));
            self.hasher.update(here);
            self.filled += here.len();
            octets = rest;
            if self.filled == block {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        self.done.push(std::mem::take(&mut self.hasher).finalize());
        self.filled = 0;
    }

    fn finish(mut self) -> Vec<u32> {
        if self.filled > 0 {
            self.end();
        }
        self.done
    }
}

/// Up to this many octets a message is placed and looked at where it arrives; a longer one where work may block.
const SMALL_MAX: usize = 64 * 1024;

impl Receiver {
    pub(crate) fn new(store: Store, writer: Box<dyn BodyWriter>) -> Self {
        Self { store, writer, octets: Some(Vec::new()), blocks: Blocks::default() }
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
        self.blocks.add(octets);
        Ok(self.writer.write(octets)?)
    }

    /// Ends the message: its octets are in place and its structure is known, but it is not durable yet.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Broken`].
    pub async fn end(self) -> Result<Received, Error> {
        let Self { store, writer, octets, blocks } = self;
        let blocks = blocks.finish();
        if let Some(octets) = octets {
            let body = writer.finish()?;
            return Ok(received(&store, body, &blocks, &imap::message::analyse(&octets)));
        }
        let inner = store.clone();
        let place = move || {
            let body = writer.finish()?;
            let structure = analyse(inner.body_store(), &body)?;
            Ok(received(&inner, body, &blocks, &structure))
        };
        store.blocking(place).await
    }

    /// Ends the message, as [`Receiver::end`] and [`Store::make_durable`].
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
    /// Makes received messages ready to be added: their octets are durable, or will be before anything refers to them.
    ///
    /// # Errors
    /// [`Error::Broken`]: then nothing more can be written.
    pub async fn make_durable(&self, received: Vec<Received>) -> Result<Vec<NewBody>, Error> {
        if self.engine().is_shared() {
            let store = self.clone();
            self.blocking(move || store.sync_bodies().map_err(Error::from)).await?;
        }
        Ok(received.into_iter().map(|received| NewBody::new(received.row)).collect())
    }

    /// Makes all bodies durable that were received so far. Blocks.
    pub(crate) fn sync_bodies(&self) -> Result<(), EngineError> {
        self.body_store().sync().inspect_err(|error| {
            // Which bodies are on the disk is unknown now: nothing may be written that refers to one [H1].
            if let EngineError::Broken(why) = error {
                self.refuse_writes(why);
            }
        })
    }
}

fn received(store: &Store, body: BodyRef, blocks: &[u32], structure: &Structure) -> Received {
    let mut w = Writer::default();
    w.byte(1);
    w.wide((u128::from(store.clock().random()) << 64) | u128::from(store.clock().random()));
    w.octets(structure.as_bytes());
    w.number(blocks.len() as u64);
    blocks.iter().for_each(|crc| w.number(u64::from(*crc)));
    Received { row: BodyRow { id: store.engine().next_body(), body, meta: w.out } }
}

fn analyse(bodies: &dyn BodyStore, body: &BodyRef) -> Result<Structure, EngineError> {
    let mut octets = Vec::with_capacity(usize::try_from(body.len).unwrap_or(0));
    bodies.read(body, 0..body.len, &mut octets)?;
    Ok(imap::message::analyse(&octets))
}

/// A message to which nothing refers yet. Clones share the octets.
#[derive(Clone)]
pub struct NewBody {
    pub(crate) row: Arc<BodyRow>,
    /// Set once a commit has written the row.
    committed: Arc<AtomicBool>,
}

impl NewBody {
    /// With this row, which no commit has written.
    pub(crate) fn new(row: BodyRow) -> Self {
        Self { row: Arc::new(row), committed: Arc::default() }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> BodyId {
        self.row.id
    }

    /// Whether its row is written.
    pub(crate) fn is_committed(&self) -> bool {
        self.committed.load(Ordering::Acquire)
    }

    /// Its row is written.
    pub(crate) fn note_committed(&self) {
        self.committed.store(true, Ordering::Release);
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
    blocks: Vec<u32>,
}

impl Store {
    /// [`Store::read`] for callers that may not block: where bodies are far away, it is waited for.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn fetch(
        &self,
        body: &Arc<Body>,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if !self.engine().is_shared() {
            return self.read(body, range, into);
        }
        let (store, body) = (self.clone(), Arc::clone(body));
        let read = move || {
            let mut octets = Vec::new();
            store.read(&body, range, &mut octets).map(|()| octets)
        };
        into.append(&mut self.blocking(read).await?);
        Ok(())
    }

    /// Appends the octets of `range`, cut to the body's length, to `into`. The blocks that hold them are read
    /// whole and checked [H8]. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// [`Error::Damaged`] when octets are missing or differ; then nothing was appended.
    pub fn read(&self, body: &Body, range: Range<u64>, into: &mut Vec<u8>) -> Result<(), Error> {
        let range = range.start.min(body.body.len)..range.end.min(body.body.len);
        let mut at = range.start - range.start % BLOCK;
        let begin = into.len();
        while at < range.end {
            let end = body.body.len.min(at + BLOCK);
            let from = into.len();
            let read = self.body_store().read(&body.body, at..end, into);
            let known = usize::try_from(at / BLOCK).ok().and_then(|n| body.blocks.get(n));
            let checked = read.map_err(Error::from).and_then(|()| {
                let block = into.get(from..).unwrap_or_default();
                let same = known == Some(&crc32fast::hash(block));
                if same { Ok(()) } else { Err(differs(&body.body, at)) }
            });
            if let Err(error) = checked {
                into.truncate(begin);
                return Err(error);
            }
            let part = |n: u64| usize::try_from(n.saturating_sub(at)).unwrap_or(usize::MAX);
            into.truncate(from.saturating_add(part(range.end)).min(into.len()));
            into.drain(from..from + part(range.start));
            at = end;
        }
        Ok(())
    }
}

fn differs(body: &BodyRef, at: u64) -> Error {
    Error::Damaged(format!(
        "octets {at} and following of a message of {} octets are not what was stored: restore them",
        body.len
    ))
}

impl Body {
    pub(crate) fn decode(row: BodyRow) -> Result<Self, EngineError> {
        let mut r = Reader::new(&row.meta);
        crate::delta::version(&mut r)?;
        let email_id = r.wide()?;
        let structure = Structure::from_bytes(r.octets()?)
            .map_err(|_| EngineError::Damaged(format!("the structure of body {}", row.id.0)))?;
        let blocks = (0..r.count()?).map(|_| r.number_32()).collect::<Result<_, _>>()?;
        r.end()?;
        Ok(Self { body: row.body, structure, email_id, blocks })
    }
}
