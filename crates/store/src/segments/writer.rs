//! A body that arrives: in memory while it is small, then in a file of its own.
//!
//! # Invariants
//! - Memory stays below the limit for small bodies plus one piece [H5].
//! - Dropped before its end, it leaves no file.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crc32fast::Hasher;

use super::place::{Place, large_path, unfinished_path};
use super::{Shared, create};
use crate::embedded::directory::remove;
use crate::engine::{BodyRef, BodyWriter, EngineError};

const PIECE_OCTETS: usize = 64 << 10;

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// Octets that are not in the file yet.
    buffer: Vec<u8>,
    len: u64,
    hasher: Hasher,
    file: Option<Unfinished>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, buffer: Vec::new(), len: 0, hasher: Hasher::new(), file: None }
    }
}

impl BodyWriter for Writer {
    fn write(&mut self, octets: &[u8]) -> Result<(), EngineError> {
        self.hasher.update(octets);
        self.len += u64::try_from(octets.len()).unwrap_or(u64::MAX);
        self.buffer.extend_from_slice(octets);
        let max = self.shared.limits.small_octets_max;
        if self.file.is_none() && self.buffer.len() > max {
            self.file = Some(Unfinished::begin(Arc::clone(&self.shared))?);
        }
        match &mut self.file {
            Some(file) if self.buffer.len() >= PIECE_OCTETS => file.take(&mut self.buffer),
            _ => Ok(()),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<BodyRef, EngineError> {
        self.shared.group.check()?;
        let crc = self.hasher.clone().finalize();
        let place = match self.file.take() {
            None => self.shared.append(&self.buffer, crc)?,
            Some(mut file) => {
                file.take(&mut self.buffer)?;
                file.finish()?
            }
        };
        Ok(BodyRef { locator: place.encode(), len: self.len, crc })
    }
}

/// The file of a large body under its temporary name, which goes when this is dropped.
struct Unfinished {
    shared: Arc<Shared>,
    number: u64,
    path: PathBuf,
    file: Arc<File>,
}

impl Unfinished {
    fn begin(shared: Arc<Shared>) -> Result<Self, EngineError> {
        let number = shared.next_large.fetch_add(1, Ordering::Relaxed);
        let path = unfinished_path(&shared.large, number);
        let file = create(&path).map_err(|error| shared.refused("begin a body's file", &error))?;
        Ok(Self { shared, number, path, file: Arc::new(file) })
    }

    fn take(&mut self, buffer: &mut Vec<u8>) -> Result<(), EngineError> {
        let written = self.file.as_ref().write_all(buffer);
        written.map_err(|error| self.shared.refused("write a body's file", &error))?;
        buffer.clear();
        Ok(())
    }

    fn finish(self) -> Result<Place, EngineError> {
        let named = fs::rename(&self.path, large_path(&self.shared.large, self.number));
        named.map_err(|error| self.shared.refused("name a body's file", &error))?;
        self.shared.group.named(&self.shared.large);
        self.shared.group.finished(&self.file);
        Ok(Place::Large { number: self.number })
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start; after `finish` it is not there.
        drop(remove(&self.path));
    }
}
