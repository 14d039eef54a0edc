//! Bodies in files: small ones together in append-only segments, large ones in files of their own.
//!
//! `bodies/000001.seg` holds records one after another; `bodies/large/` has a file for each larger body.
//!
//! # Invariants
//! - Nothing is appended to a segment of an earlier run, so a torn end stays where it is and nothing
//!   refers to it.
//! - After a failed write or sync nothing more is written [H1]; a full disk is not one.
//! - A body read whole is checked against its CRC [H8].

mod compact;
mod group;
mod place;
mod writer;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use compact::{Maintained, Move, maintain};
use group::Group;
use place::{Place, record};
use writer::Writer;

use crate::embedded::OpenError;
use crate::embedded::directory::{io_error, private_directory, remove};
use crate::engine::{BodyRef, BodyStore, BodyWriter, EngineError};

/// Sizes at which bodies go elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// A body longer than this many octets gets a file of its own.
    pub small_octets_max: usize,
    /// A segment that would grow beyond this many octets is followed by a new one.
    pub segment_octets_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { small_octets_max: 256 << 10, segment_octets_max: 256 << 20 }
    }
}

const FILES_OPEN_MAX: usize = 64;

/// The place for bodies in a data directory, whose lock the caller holds.
#[derive(Clone, Debug)]
pub struct Segments {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    large: PathBuf,
    limits: Limits,
    current: Mutex<Option<Current>>,
    next_segment: AtomicU32,
    next_large: AtomicU64,
    group: Group,
    open: Mutex<BTreeMap<u32, Arc<File>>>,
    /// Where bodies went whose segment was compacted in this run: a reader may hold the old place.
    moved: Mutex<BTreeMap<Place, Place>>,
}

#[derive(Debug)]
struct Current {
    segment: u32,
    file: Arc<File>,
    octets: u64,
}

impl Segments {
    /// Opens `bodies` in the data directory, and makes it where there is none. What an earlier run had
    /// not finished is removed.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn open(data: &Path, limits: Limits) -> Result<Self, OpenError> {
        let directory = data.join("bodies");
        let large = directory.join("large");
        private_directory(&large).map_err(io_error("make the directory", &large))?;
        for path in [data, &directory, &large] {
            let synced = File::open(path).and_then(|directory| directory.sync_all());
            synced.map_err(io_error("sync", path))?;
        }
        let segments = place::segments(&directory).map_err(io_error("list", &directory))?;
        let next_segment = segments.last().map_or(1, |(segment, _)| segment.saturating_add(1));
        let mut next_large = 1;
        for file in place::large_files(&large).map_err(io_error("list", &large))? {
            if file.unfinished {
                remove(&file.path).map_err(io_error("remove", &file.path))?;
            }
            next_large = next_large.max(file.number.saturating_add(1));
        }
        Ok(Self {
            shared: Arc::new(Shared {
                directory,
                large,
                limits,
                current: Mutex::default(),
                next_segment: AtomicU32::new(next_segment),
                next_large: AtomicU64::new(next_large),
                group: Group::default(),
                open: Mutex::default(),
                moved: Mutex::default(),
            }),
        })
    }
}

impl BodyStore for Segments {
    fn writer(&self) -> Result<Box<dyn BodyWriter>, EngineError> {
        self.shared.group.check()?;
        Ok(Box::new(Writer::new(Arc::clone(&self.shared))))
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.shared.group.sync()
    }

    fn read(
        &self,
        body: &BodyRef,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<(), EngineError> {
        let mut place = self.shared.now_at(Place::decode(&body.locator)?);
        loop {
            match self.shared.read(place, body, &range, into) {
                Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                    let now = self.shared.now_at(place);
                    if now == place {
                        return Err(damaged(place, "is not there"));
                    }
                    place = now;
                }
                Err(ReadError::Io(error)) => return Err(damaged(place, &error.to_string())),
                Err(ReadError::Damaged(what)) => return Err(damaged(place, what)),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn reclaim(&self, bodies: &[BodyRef]) -> Result<(), EngineError> {
        for body in bodies {
            if let Place::Large { number } = Place::decode(&body.locator)? {
                let path = place::large_path(&self.shared.large, number);
                remove(&path).map_err(|error| cannot("remove", &path, &error))?;
            }
        }
        Ok(())
    }
}

enum ReadError {
    Io(io::Error),
    Damaged(&'static str),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Shared {
    /// Appends a small body as a record.
    fn append(&self, octets: &[u8], crc: u32) -> Result<Place, EngineError> {
        let record = record(octets, crc);
        let octets = u64::try_from(record.len()).unwrap_or(u64::MAX);
        let mut current = lock(&self.current);
        let end = current.as_ref().map_or(u64::MAX, |it| it.octets.saturating_add(octets));
        if end > self.limits.segment_octets_max {
            *current = Some(self.begin_segment()?);
        }
        let Some(current) = current.as_mut() else {
            return Err(EngineError::Full("there is no segment to append to".to_owned()));
        };
        // Past what counts as written, so what a full disk cut short is written over.
        let written = current.file.write_all_at(&record, current.octets);
        written.map_err(|error| self.refused("append a body to a segment", &error))?;
        let place = Place::Segment { segment: current.segment, offset: current.octets };
        current.octets += octets;
        self.group.finished(&current.file);
        Ok(place)
    }

    fn begin_segment(&self) -> Result<Current, EngineError> {
        let segment = self.next_segment.fetch_add(1, Ordering::Relaxed);
        let path = place::segment_path(&self.directory, segment);
        let file = create(&path).map_err(|error| self.refused("begin a segment", &error))?;
        let file = Arc::new(file);
        self.group.named(&self.directory);
        self.remember(segment, &file);
        Ok(Current { segment, file, octets: 0 })
    }

    fn read(
        &self,
        place: Place,
        body: &BodyRef,
        range: &Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let (file, offset) = match place {
            Place::Segment { segment, offset } => {
                (self.segment(segment)?, offset.saturating_add(place::HEADER_OCTETS))
            }
            Place::Large { number } => {
                (Arc::new(File::open(place::large_path(&self.large, number))?), 0)
            }
        };
        // Before any memory is taken: the length comes from the database and may be damaged, too.
        if offset
            .checked_add(body.len)
            .is_none_or(|end| file.metadata().is_ok_and(|it| it.len() < end))
        {
            return Err(ReadError::Damaged("is shorter than it was stored"));
        }
        let end = range.end.min(body.len);
        let start = range.start.min(end);
        let len = usize::try_from(end - start)
            .map_err(|_| ReadError::Damaged("is too long for this machine"))?;
        let before = into.len();
        into.resize(before + len, 0);
        let part = into.get_mut(before..).unwrap_or_default();
        let read = file.read_exact_at(part, offset + start).map_err(ReadError::Io);
        let whole = start == 0 && end == body.len;
        let checked = read.and_then(|()| {
            let differs = whole && crc32fast::hash(part) != body.crc;
            if differs { Err(ReadError::Damaged("has a wrong CRC")) } else { Ok(()) }
        });
        if checked.is_err() {
            into.truncate(before);
        }
        checked
    }

    fn segment(&self, segment: u32) -> io::Result<Arc<File>> {
        if let Some(file) = lock(&self.open).get(&segment) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::open(place::segment_path(&self.directory, segment))?);
        self.remember(segment, &file);
        Ok(file)
    }

    fn remember(&self, segment: u32, file: &Arc<File>) {
        let mut open = lock(&self.open);
        if open.len() >= FILES_OPEN_MAX {
            open.pop_first();
        }
        open.insert(segment, Arc::clone(file));
    }

    /// Where a body is now that may have been moved.
    fn now_at(&self, mut place: Place) -> Place {
        let moved = lock(&self.moved);
        while let Some(next) = moved.get(&place) {
            place = *next;
        }
        place
    }

    /// What a failed write means: a full disk leaves everything whole.
    fn refused(&self, tried: &str, error: &io::Error) -> EngineError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                EngineError::Full(format!("cannot {tried}: {error}"))
            }
            _ => self.group.break_with(format!("cannot {tried}: {error}")),
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn damaged(place: Place, what: &str) -> EngineError {
    EngineError::Damaged(format!("the body in {place} {what}; restore it from a backup"))
}

fn cannot(tried: &str, path: &Path, error: &io::Error) -> EngineError {
    EngineError::Damaged(format!("cannot {tried} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
