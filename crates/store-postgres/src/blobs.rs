//! Bodies in the database itself: their octets in pieces, durable before a commit names them.
//!
//! A body's octets are noted in `upload` until the commit that brings its row; what stays noted was never named, and is
//! collected after a time. A locator is `b` and the blob's number.
//!
//! # Invariants
//! - [`BodyStore::sync`] answers `Ok` only when every body that was finished before is durable; a long one is as soon as
//!   it is finished [H1].
//! - A writer keeps at most a few pieces in memory, however long the body is [H5].

use std::ops::Range;
use std::sync::Arc;

use store::engine::{BodyRef, BodyStore, BodyWriter, EngineError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::convert::{big, bits};
use crate::engine::{Inner, wait};
use crate::error::Fault;
use crate::group::{Group, Small};
use crate::link::{Link, Step};
use crate::locator::{Locator, PIECE};

/// Up to so many octets a body waits in memory for the sync; a longer one is written as it arrives.
const SMALL_MAX: usize = 1 << 20;
/// Pieces of a long body that may be on their way.
const AHEAD: usize = 16;

/// Bodies in the database.
#[derive(Clone)]
pub struct Blobs {
    inner: Arc<Inner>,
    group: Arc<Group>,
}

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blobs")
    }
}

/// Where bodies are, and what is done there now and then.
pub trait Bodies: BodyStore {
    /// Removes bodies that were written longer than `grace_seconds` ago and that no commit has named; answers how many.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    fn collect(&self, grace_seconds: i64) -> Result<usize, EngineError>;
}

impl Bodies for Blobs {
    fn collect(&self, grace_seconds: i64) -> Result<usize, EngineError> {
        const OLD: &str = "DELETE FROM highwater.upload WHERE locator IN (SELECT locator FROM highwater.upload
            WHERE at < extract(epoch FROM now())::bigint - $1 AND substr(locator, 1, 1) = '\\x62' LIMIT 100)
            RETURNING locator";
        const PIECES: &str = "DELETE FROM highwater.blob WHERE id = ANY($1)";
        let mut total = 0;
        loop {
            let collect = async |link: &Link| {
                link.run("BEGIN").await?;
                let rows = link.query(OLD, &[&grace_seconds]).await?;
                let ids = rows.iter().filter_map(|row| Locator::blob(row.get(0)).ok());
                let ids: Vec<i64> = ids.map(bits).collect();
                link.query(PIECES, &[&ids]).await?;
                link.run("COMMIT").await?;
                Ok(rows.len())
            };
            let count = wait(&self.inner.runtime, self.inner.with_transaction(collect))?;
            total += count;
            if count == 0 {
                return Ok(total);
            }
        }
    }
}

impl Blobs {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, group: Arc::default() }
    }

    fn write(&self, due: &[Arc<Small>]) -> Result<(), EngineError> {
        let write = async |link: &Link| write_all(&self.inner, link, due).await;
        let written = self.inner.with_transaction(write);
        wait(&self.inner.runtime, written)
    }
}

/// One commit for all, acknowledged by the standby.
async fn write_all(inner: &Inner, link: &Link, due: &[Arc<Small>]) -> Result<(), Fault> {
    const BLOBS: &str = "INSERT INTO highwater.blob SELECT b.id, b.piece, b.octets
        FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS b(id, piece, octets)
        ON CONFLICT (id, piece) DO NOTHING";
    const UPLOADS: &str =
        "INSERT INTO highwater.upload SELECT u.locator, extract(epoch FROM now())::bigint
        FROM unnest($1::bytea[]) AS u(locator) ON CONFLICT DO NOTHING";
    let (mut ids, mut numbers, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
    for small in due {
        let Locator::Blob(id) = small.locator else { continue };
        for (number, piece) in (0_i64..).zip(small.octets.chunks(PIECE)) {
            ids.push(bits(id));
            numbers.push(number);
            pieces.push(piece);
        }
    }
    let locators: Vec<Vec<u8>> = due.iter().map(|small| small.locator.octets()).collect();
    let mut steps = vec![Step::Plain("BEGIN")];
    steps.push(Step::Query(BLOBS, vec![Box::new(ids), Box::new(numbers), Box::new(pieces)]));
    steps.push(Step::Query(UPLOADS, vec![Box::new(locators)]));
    steps.push(Step::Plain("COMMIT"));
    link.take_warned();
    link.pipeline(&steps).await?;
    if link.take_warned() { inner.health.barrier(link).await } else { Ok(()) }
}

/// Makes the pieces of a long body durable, which were written by commits that were not waited for, if they all are there.
async fn settle(inner: &Inner, link: &Link, id: u64, count: i64) -> Result<(), Fault> {
    const PIECES: &str = "SELECT count(*) FROM highwater.blob WHERE id = $1";
    let rows = link.query(PIECES, &[&bits(id)]).await?;
    if rows.first().is_none_or(|row| row.get::<_, i64>(0) != count) {
        let why = "PostgreSQL was restarted while the message was written: send it again";
        return Err(EngineError::Unavailable(why.into()).into());
    }
    inner.health.barrier(link).await
}

impl BodyStore for Blobs {
    fn writer(&self) -> Result<Box<dyn BodyWriter>, EngineError> {
        let (hasher, octets) = (crc32fast::Hasher::new(), Vec::new());
        let id = self.inner.next_blob();
        Ok(Box::new(Writer { blobs: self.clone(), id, octets, hasher, len: 0, sending: None }))
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.group.sync(|due| self.write(due))
    }

    fn read(
        &self,
        body: &BodyRef,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<(), EngineError> {
        const SQL: &str = "SELECT piece, octets FROM highwater.blob
            WHERE id = $1 AND piece BETWEEN $2 AND $3 ORDER BY piece";
        let range = range.start.min(body.len)..range.end.min(body.len);
        let id = Locator::blob(&body.locator)?;
        let piece = PIECE as u64;
        let (mut first, last) = (range.start / piece, range.end.saturating_sub(1) / piece);
        let mut octets = Vec::new();
        if let Some(small) = self.group.find(Locator::Blob(id)) {
            (first, octets) = (0, small.octets.clone());
        } else if !range.is_empty() {
            let rows = self
                .inner
                .with(async |link| link.query(SQL, &[&bits(id), &big(first), &big(last)]).await);
            let rows = wait(&self.inner.runtime, rows)?;
            rows.iter().for_each(|row| octets.extend_from_slice(row.get(1)));
        }
        let at = |n: u64| usize::try_from(n - first * piece).unwrap_or(usize::MAX);
        let wanted = if range.is_empty() {
            Some(&[][..])
        } else {
            octets.get(at(range.start)..at(range.end))
        };
        let wanted = wanted.ok_or_else(|| damaged(id, "is not there whole"))?;
        if range == (0..body.len) && crc32fast::hash(wanted) != body.crc {
            return Err(damaged(id, "is not what was stored"));
        }
        into.extend_from_slice(wanted);
        Ok(())
    }

    fn reclaim(&self, bodies: &[BodyRef]) -> Result<(), EngineError> {
        const PIECES: &str = "DELETE FROM highwater.blob WHERE id = ANY($1)";
        const UPLOADS: &str = "DELETE FROM highwater.upload WHERE locator = ANY($1)";
        let ids = bodies.iter().map(|body| Ok(bits(Locator::blob(&body.locator)?)));
        let ids: Vec<i64> = ids.collect::<Result<_, EngineError>>()?;
        let locators: Vec<&[u8]> = bodies.iter().map(|body| body.locator.as_slice()).collect();
        let remove = async |link: &Link| {
            link.query(PIECES, &[&ids]).await?;
            link.query(UPLOADS, &[&locators]).await.map(drop)
        };
        wait(&self.inner.runtime, self.inner.with(remove))
    }
}

fn damaged(blob: u64, what: &str) -> EngineError {
    EngineError::Damaged(format!("the body in blob {blob:x} {what}: restore the database"))
}

/// A body on its way in.
struct Writer {
    blobs: Blobs,
    id: u64,
    /// What has arrived and is not on its way.
    octets: Vec<u8>,
    hasher: crc32fast::Hasher,
    len: u64,
    /// For a long one, where pieces go, and the task that writes them; it answers how many there were.
    sending: Option<Sending>,
}

struct Sending {
    send: mpsc::Sender<Vec<u8>>,
    task: JoinHandle<Result<i64, EngineError>>,
}

impl BodyWriter for Writer {
    fn write(&mut self, octets: &[u8]) -> Result<(), EngineError> {
        self.hasher.update(octets);
        self.len += octets.len() as u64;
        self.octets.extend_from_slice(octets);
        if self.sending.is_none() && self.octets.len() > SMALL_MAX {
            let (send, receive) = mpsc::channel(AHEAD);
            let task = send_pieces(Arc::clone(&self.blobs.inner), self.id, receive);
            self.sending = Some(Sending { send, task: self.blobs.inner.runtime.spawn(task) });
        }
        self.send(PIECE)
    }

    fn finish(mut self: Box<Self>) -> Result<BodyRef, EngineError> {
        self.send(1)?;
        let inner = &self.blobs.inner;
        if let Some(Sending { send, task }) = self.sending.take() {
            drop(send);
            let fell = |_| EngineError::Unavailable("the node is shutting down".into());
            let count = wait(&inner.runtime, task).map_err(fell)??;
            let settled = async |link: &Link| settle(inner, link, self.id, count).await;
            wait(&inner.runtime, inner.with(settled))?;
        } else {
            let octets = std::mem::take(&mut self.octets);
            self.blobs.group.add(Small { locator: Locator::Blob(self.id), octets })?;
        }
        let locator = Locator::Blob(self.id).octets();
        Ok(BodyRef { locator, len: self.len, crc: self.hasher.finalize() })
    }
}

impl Writer {
    /// Sends what has gathered of a long body, as soon as it is at least so much; waits when the server is behind.
    fn send(&mut self, at_least: usize) -> Result<(), EngineError> {
        let Some(Sending { send, .. }) = &self.sending else { return Ok(()) };
        while self.octets.len() >= at_least && !self.octets.is_empty() {
            let rest = self.octets.split_off(self.octets.len().min(PIECE));
            let piece = std::mem::replace(&mut self.octets, rest);
            if wait(&self.blobs.inner.runtime, send.send(piece)).is_err() {
                // Why it ended is told by the end.
                self.octets.clear();
            }
        }
        Ok(())
    }
}

/// Writes pieces as they come, each in a commit that is not waited for: the sync is. Answers how many there were.
async fn send_pieces(
    inner: Arc<Inner>,
    id: u64,
    mut pieces: mpsc::Receiver<Vec<u8>>,
) -> Result<i64, EngineError> {
    let mut count = 0;
    while let Some(piece) = pieces.recv().await {
        let lent = inner.reader().await.map_err(Fault::nothing_done)?;
        match put_piece(&lent, id, count, &piece).await {
            Ok(()) => count += 1,
            Err(fault) => {
                lent.give_up();
                return Err(fault.nothing_done());
            }
        }
    }
    Ok(count)
}

async fn put_piece(link: &Link, id: u64, count: i64, piece: &[u8]) -> Result<(), Fault> {
    const PUT: &str = "INSERT INTO highwater.blob VALUES($1, $2, $3)";
    const NOTE: &str = "INSERT INTO highwater.upload VALUES($1, extract(epoch FROM now())::bigint)";
    let mut steps = vec![Step::Plain("BEGIN; SET LOCAL synchronous_commit = off")];
    if count == 0 {
        steps.push(Step::Query(NOTE, vec![Box::new(Locator::Blob(id).octets())]));
    }
    steps.push(Step::Query(PUT, vec![Box::new(bits(id)), Box::new(count), Box::new(piece)]));
    steps.push(Step::Plain("COMMIT"));
    link.pipeline(&steps).await.map(drop)
}
