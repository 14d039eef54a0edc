//! Bodies in an object store: one object a body, and a further one for each four megabytes of a long one.
//!
//! Before an object is put, its locator is noted in `upload`, as a blob's is; the commit that names the body removes
//! the note. A locator is `o`, a number and a random number, which also make the object's name. What is to be removed
//! is first noted as `x`: from then on no commit can name it, and a crash forgets none.
//!
//! # Invariants
//! - [`BodyStore::sync`] answers `Ok` only when every body that was finished before is durable [H1].
//! - An object is only ever put after its note, and removed before it: none is forgotten.
//! - Objects of a body are put in order and removed from the last, so that a body of unknown length can be removed.
//! - The store has an object that tells whose it is: another place is never taken for the one before [H6].

mod bucket;

use std::ops::Range;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use store::engine::{BodyRef, BodyStore, BodyWriter, EngineError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::bucket::{Bucket, Failed};
use crate::blobs::{Blobs, Bodies};
use crate::engine::{Inner, wait};
use crate::error::{Fault, OpenError};
use crate::group::{Group, Small};
use crate::link::{Link, Step};
use crate::locator::Locator;

/// Octets in an object, of which a body that is longer has several.
const OBJECT: usize = 4 << 20;
/// Objects that are put, or removed, at the same time.
const AT_ONCE: usize = 16;
/// The object that tells whose the store is.
const MARK: &str = "highwater";

/// Bodies in an object store; those that are in the database are read there.
#[derive(Clone)]
pub struct Objects {
    inner: Arc<Inner>,
    bucket: Arc<Bucket>,
    blobs: Blobs,
    group: Arc<Group>,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Objects({})", self.bucket.address)
    }
}

/// What the database remembers of its object store.
struct Remembered {
    address: Option<String>,
    mark: Option<String>,
    /// Whether the mark has been put there.
    is_marked: bool,
}

async fn remembered(link: &Link) -> Result<Remembered, Fault> {
    let sql = "SELECT bodies, bodies_mark, bodies_marked FROM highwater.cluster";
    let rows = link.query(sql, &[]).await?;
    let gone = || EngineError::Damaged("its row of `cluster` is gone: restore the database".into());
    let row = rows.first().ok_or_else(gone)?;
    Ok(Remembered { address: row.get(0), mark: row.get(1), is_marked: row.get(2) })
}

fn refused(place: &str, why: String) -> OpenError {
    OpenError::Bodies { place: place.to_owned(), why }
}

/// Refuses a database whose bodies are in an object store.
pub(crate) async fn none_used(inner: &Inner) -> Result<(), OpenError> {
    let found = inner.with(remembered).await;
    let found = found.map_err(|error| refused("the database", error.to_string()))?;
    let Some(address) = found.address else { return Ok(()) };
    let why = format!("they are in an object store: say --bodies {address}");
    Err(refused("the database", why))
}

/// The name of a body's object, the first or a further one.
fn name(number: u64, random: u64, piece: u64) -> String {
    let further = if piece == 0 { String::new() } else { format!(".{piece}") };
    format!("{:02x}/{number:016x}-{random:016x}{further}", random >> 56)
}

impl Objects {
    /// Opens the store at `address`, and remembers in the database that bodies are there.
    pub(crate) fn open(inner: Arc<Inner>, address: &str) -> Result<Self, OpenError> {
        let bucket = Arc::new(Bucket::parse(address)?);
        wait(&inner.runtime, claim(&inner, &bucket))?;
        let blobs = Blobs::new(Arc::clone(&inner));
        Ok(Self { inner, bucket, blobs, group: Arc::default() })
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        wait(&self.inner.runtime, future)
    }

    /// One commit for the notes of all, and then all the objects.
    fn put_all(&self, due: &[Arc<Small>]) -> Result<(), EngineError> {
        self.wait(async {
            let locators: Vec<Locator> = due.iter().map(|small| small.locator).collect();
            note(&self.inner, &locators).await?;
            let put = |small: &Arc<Small>| {
                let (bucket, small) = (Arc::clone(&self.bucket), Arc::clone(small));
                async move { put(&bucket, small.locator, 0, small.octets.clone()).await }
            };
            stream::iter(due.iter().map(put)).buffer_unordered(AT_ONCE).try_collect::<()>().await
        })
    }

    /// Moves notes that are old enough to those of what is to be removed; answers how many.
    async fn doom(&self, grace_seconds: i64) -> Result<u64, EngineError> {
        const OLD: &str =
            "WITH doomed AS (UPDATE highwater.upload SET locator = '\\x78'::bytea || substr(locator, 2)
              WHERE at < extract(epoch FROM now())::bigint - $1 AND substr(locator, 1, 1) = '\\x6f' RETURNING 1)
            SELECT count(*) FROM doomed";
        let doom = async |link: &Link| {
            link.take_warned();
            let rows = link.query(OLD, &[&grace_seconds]).await?;
            if link.take_warned() {
                self.inner.health.barrier(link).await?;
            }
            Ok(rows.first().map_or(0, |row| crate::convert::number(row, 0)))
        };
        self.inner.with_transaction(doom).await
    }

    /// Removes some of what is noted as to be removed; answers how many bodies.
    async fn remove_doomed(&self) -> Result<usize, EngineError> {
        const DOOMED: &str =
            "SELECT locator FROM highwater.upload WHERE substr(locator, 1, 1) = '\\x78' LIMIT 100";
        const DONE: &str = "DELETE FROM highwater.upload WHERE locator = ANY($1)";
        let doomed = async |link: &Link| link.query(DOOMED, &[]).await;
        let rows = self.inner.with(doomed).await?;
        let notes: Vec<&[u8]> = rows.iter().map(|row| row.get(0)).collect();
        let object = |note: &&[u8]| {
            let octets = [b"o", note.get(1..).unwrap_or_default()].concat();
            Locator::parse(&octets)
        };
        let locators: Vec<Locator> = notes.iter().map(object).collect::<Result<_, _>>()?;
        self.remove(locators.into_iter().map(|locator| (locator, None)).collect()).await?;
        let done = async |link: &Link| link.query(DONE, &[&notes]).await.map(drop);
        self.inner.with(done).await?;
        Ok(notes.len())
    }

    /// Removes the objects of bodies, whose lengths may be known.
    async fn remove(&self, bodies: Vec<(Locator, Option<u64>)>) -> Result<(), EngineError> {
        let remove = |(locator, len)| remove_one(Arc::clone(&self.bucket), locator, len);
        stream::iter(bodies.into_iter().map(remove))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }

    /// The octets in `range`, which is not empty, of what is in the object store.
    async fn fetch(
        &self,
        number: u64,
        random: u64,
        range: Range<u64>,
    ) -> Result<Vec<u8>, EngineError> {
        let object = OBJECT as u64;
        let mut octets = Vec::new();
        for piece in range.start / object..=(range.end - 1) / object {
            let begin = piece * object;
            let part = range.start.max(begin) - begin..range.end.min(begin + object) - begin;
            let name = name(number, random, piece);
            let part = self.bucket.get_part(&name, part).await;
            octets.extend(part.map_err(|failed| failed.into_engine(&self.bucket, &name))?);
        }
        Ok(octets)
    }
}

/// Makes the store the database's own, or tests that it is.
async fn claim(inner: &Inner, bucket: &Bucket) -> Result<(), OpenError> {
    const FIRST: &str =
        "UPDATE highwater.cluster SET bodies = $1, bodies_mark = $2 WHERE bodies IS NULL";
    const MARKED: &str = "UPDATE highwater.cluster SET bodies_marked = true";
    let address = &bucket.address;
    let refuse = |why: &str| Err(refused(address, why.into()));
    let failed = |error: EngineError| refused(address, error.to_string());
    let there = match bucket.get(MARK).await {
        Ok(octets) => Some(String::from_utf8_lossy(&octets).into_owned()),
        Err(Failed::Missing) => None,
        Err(Failed::Unavailable(why)) => return refuse(&why),
    };
    let mut known = inner.with(remembered).await.map_err(failed)?;
    if known.address.is_none() {
        if there.is_some() {
            return refuse(
                "it holds the bodies of another database: name another prefix or directory",
            );
        }
        let mark = format!("{:032x}", fastrand::u128(..));
        let first = async |link: &Link| link.query(FIRST, &[address, &mark]).await.map(drop);
        inner.with(first).await.map_err(failed)?;
        known = inner.with(remembered).await.map_err(failed)?;
    }
    let (place, mark) = (known.address.unwrap_or_default(), known.mark.unwrap_or_default());
    if place != *address {
        return refuse(&format!(
            "the bodies of this database are at {place}: say --bodies {place}"
        ));
    }
    match there {
        Some(there) if there == mark => {}
        Some(_) => {
            return refuse(
                "it holds the bodies of another database: check AWS_ENDPOINT, or what is mounted there",
            );
        }
        None if known.is_marked => {
            return refuse(
                "its object `highwater` is missing, so that it is not the place where the bodies of this database \
                 are: check AWS_ENDPOINT, or whether the directory is mounted",
            );
        }
        None => bucket
            .put(MARK, mark.into_bytes())
            .await
            .map_err(|error| failed(error.into_engine(bucket, MARK)))?,
    }
    let marked = async |link: &Link| link.query(MARKED, &[]).await.map(drop);
    if known.is_marked { Ok(()) } else { inner.with(marked).await.map_err(failed) }
}

/// Notes bodies before their objects are put: one commit, acknowledged by the standby.
async fn note(inner: &Inner, locators: &[Locator]) -> Result<(), EngineError> {
    const NOTES: &str =
        "INSERT INTO highwater.upload SELECT u.locator, extract(epoch FROM now())::bigint
        FROM unnest($1::bytea[]) AS u(locator) ON CONFLICT DO NOTHING";
    let octets: Vec<Vec<u8>> = locators.iter().map(|locator| locator.octets()).collect();
    let note = async |link: &Link| {
        link.take_warned();
        link.pipeline(&[Step::Query(NOTES, vec![Box::new(&octets)])]).await?;
        if link.take_warned() { inner.health.barrier(link).await } else { Ok(()) }
    };
    inner.with(note).await
}

async fn put(
    bucket: &Bucket,
    locator: Locator,
    piece: u64,
    octets: Vec<u8>,
) -> Result<(), EngineError> {
    let Locator::Object(number, random) = locator else { return Ok(()) };
    let name = name(number, random, piece);
    bucket.put(&name, octets).await.map_err(|failed| failed.into_engine(bucket, &name))
}

async fn remove_one(
    bucket: Arc<Bucket>,
    locator: Locator,
    len: Option<u64>,
) -> Result<(), EngineError> {
    let Locator::Object(number, random) = locator else { return Ok(()) };
    let name = |piece| name(number, random, piece);
    let failed = |failed: Failed| failed.into_engine(&bucket, &name(0));
    let mut last = len.unwrap_or_default().saturating_sub(1) / OBJECT as u64;
    while len.is_none() && bucket.exists(&name(last + 1)).await.map_err(failed)? {
        last += 1;
    }
    for piece in (0..=last).rev() {
        bucket.delete(&name(piece)).await.map_err(failed)?;
    }
    // What a crash left of the one that would have been next.
    if len.is_none() { bucket.delete(&name(last + 1)).await.map_err(failed) } else { Ok(()) }
}

impl Bodies for Objects {
    fn collect(&self, grace_seconds: i64) -> Result<usize, EngineError> {
        let mut total = self.blobs.collect(grace_seconds)?;
        self.wait(async {
            self.doom(grace_seconds).await?;
            loop {
                match self.remove_doomed().await? {
                    0 => return Ok(total),
                    count => total += count,
                }
            }
        })
    }
}

impl BodyStore for Objects {
    fn writer(&self) -> Result<Box<dyn BodyWriter>, EngineError> {
        let (hasher, octets) = (crc32fast::Hasher::new(), Vec::new());
        let locator = Locator::Object(self.inner.next_blob(), fastrand::u64(..));
        let objects = self.clone();
        Ok(Box::new(Writer { objects, locator, octets, hasher, len: 0, sending: None }))
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.group.sync(|due| self.put_all(due))
    }

    fn read(
        &self,
        body: &BodyRef,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<(), EngineError> {
        let locator = Locator::parse(&body.locator)?;
        let Locator::Object(number, random) = locator else {
            return self.blobs.read(body, range, into);
        };
        let range = range.start.min(body.len)..range.end.min(body.len);
        let damaged = |what: &str| {
            let name = name(number, random, 0);
            let place = &self.bucket.address;
            EngineError::Damaged(format!("the body {name} at {place} {what}: restore it there"))
        };
        let octets = if range.is_empty() {
            Vec::new()
        } else if let Some(small) = self.group.find(locator) {
            let at = |n| usize::try_from(n).unwrap_or(usize::MAX);
            let part = small.octets.get(at(range.start)..at(range.end));
            part.ok_or_else(|| damaged("is not there whole"))?.to_vec()
        } else {
            self.wait(self.fetch(number, random, range.clone()))?
        };
        if range == (0..body.len) && crc32fast::hash(&octets) != body.crc {
            return Err(damaged("is not what was stored"));
        }
        into.extend_from_slice(&octets);
        Ok(())
    }

    fn reclaim(&self, bodies: &[BodyRef]) -> Result<(), EngineError> {
        const NOTES: &str = "DELETE FROM highwater.upload WHERE locator = ANY($1)";
        let (mut blobs, mut objects) = (Vec::new(), Vec::new());
        for body in bodies {
            match Locator::parse(&body.locator)? {
                Locator::Blob(_) => blobs.push(body.clone()),
                locator @ Locator::Object(..) => objects.push((locator, Some(body.len))),
            }
        }
        self.blobs.reclaim(&blobs)?;
        let notes: Vec<Vec<u8>> = objects.iter().map(|(locator, _)| locator.octets()).collect();
        self.wait(async {
            self.remove(objects).await?;
            self.inner.with(async |link| link.query(NOTES, &[&notes]).await.map(drop)).await
        })
    }
}

/// A body on its way in.
struct Writer {
    objects: Objects,
    locator: Locator,
    /// What has arrived and is not on its way.
    octets: Vec<u8>,
    hasher: crc32fast::Hasher,
    len: u64,
    /// For a long one, where its objects go, and the task that puts them.
    sending: Option<Sending>,
}

struct Sending {
    send: mpsc::Sender<Vec<u8>>,
    task: JoinHandle<Result<(), EngineError>>,
}

impl BodyWriter for Writer {
    fn write(&mut self, octets: &[u8]) -> Result<(), EngineError> {
        self.hasher.update(octets);
        self.len += octets.len() as u64;
        self.octets.extend_from_slice(octets);
        if self.sending.is_none() && self.octets.len() > OBJECT {
            let (send, receive) = mpsc::channel(1);
            let objects = &self.objects;
            objects.wait(note(&objects.inner, &[self.locator]))?;
            let bucket = Arc::clone(&objects.bucket);
            let task = objects.inner.runtime.spawn(put_long(bucket, self.locator, receive));
            self.sending = Some(Sending { send, task });
        }
        self.send(OBJECT);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<BodyRef, EngineError> {
        self.send(1);
        let objects = &self.objects;
        if let Some(Sending { send, task }) = self.sending.take() {
            drop(send);
            let fell = |_| EngineError::Unavailable("the node is shutting down".into());
            objects.wait(task).map_err(fell)??;
        } else {
            let octets = std::mem::take(&mut self.octets);
            objects.group.add(Small { locator: self.locator, octets })?;
        }
        Ok(BodyRef { locator: self.locator.octets(), len: self.len, crc: self.hasher.finalize() })
    }
}

impl Writer {
    /// Sends what has gathered of a long body, as soon as it is at least so much; waits when the store is behind.
    fn send(&mut self, at_least: usize) {
        let Some(Sending { send, .. }) = &self.sending else { return };
        while self.octets.len() >= at_least && !self.octets.is_empty() {
            let rest = self.octets.split_off(self.octets.len().min(OBJECT));
            let piece = std::mem::replace(&mut self.octets, rest);
            if self.objects.wait(send.send(piece)).is_err() {
                // Why it ended is told by the end.
                self.octets.clear();
            }
        }
    }
}

/// Puts the objects of a long body, which is noted, as they come, one after the other.
async fn put_long(
    bucket: Arc<Bucket>,
    locator: Locator,
    mut pieces: mpsc::Receiver<Vec<u8>>,
) -> Result<(), EngineError> {
    let mut piece = 0;
    while let Some(octets) = pieces.recv().await {
        put(&bucket, locator, piece, octets).await?;
        piece += 1;
    }
    Ok(())
}
