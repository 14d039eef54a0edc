//! Space given back: segments that are mostly dead are written anew, files that nobody knows are removed.
//!
//! # Invariants
//! - A segment is unlinked only after its live bodies are durable elsewhere, the engine has committed their
//!   new places, and no row names the old segment any more.
//! - What was written less than the grace period ago is left alone: its row may still be on the way.
//! - Holes are never punched.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use super::place::{self, Place, segment_prefix};
use super::{Segments, cannot, lock};
use crate::embedded::Embedded;
use crate::embedded::directory::{remove, sync_directory};
use crate::engine::{BodyId, BodyRow, BodyStore, EngineError};

/// A body's new place: its number, the locator that it had, the locator that it gets.
pub type Move = (BodyId, Vec<u8>, Vec<u8>);

/// What [`maintain`] has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Maintained {
    /// Segments that are no more.
    pub segments_removed: u64,
    /// Bodies that were written anew.
    pub bodies_moved: u64,
    /// Files of bodies whose row was never committed.
    pub files_removed: u64,
    /// Octets given back, those written anew counted off.
    pub octets_freed: i64,
}

/// Compacts each segment of which at least half is dead, and removes files that no row names. Only what was
/// last written before `written_before` (seconds since 1970) is looked at.
///
/// # Errors
/// Those of the engine and of the place for bodies; what was done until then stands.
pub fn maintain(
    engine: &Embedded,
    bodies: &Segments,
    written_before: i64,
) -> Result<Maintained, EngineError> {
    let mut done = Maintained::default();
    for (segment, octets) in bodies.sealed(written_before)? {
        let prefix = segment_prefix(segment);
        let live = engine.located_octets(&prefix)?;
        if live > octets / 2 {
            continue;
        }
        let moves = bodies.compact(segment, &engine.located(&prefix)?)?;
        engine.relocate(&moves)?;
        if engine.located(&prefix)?.is_empty() {
            bodies.discard(segment, &moves)?;
            done.segments_removed += 1;
            done.bodies_moved += u64::try_from(moves.len()).unwrap_or(u64::MAX);
            done.octets_freed += difference(octets, live);
        }
    }
    let large = &bodies.shared.large;
    for file in place::large_files(large).map_err(|error| cannot("list", large, &error))? {
        let locator = Place::Large { number: file.number }.encode();
        let old = !file.unfinished && file.metadata.mtime() < written_before;
        if old && engine.located(&locator)?.is_empty() {
            remove(&file.path).map_err(|error| cannot("remove", &file.path, &error))?;
            done.files_removed += 1;
            done.octets_freed += difference(file.metadata.len(), 0);
        }
    }
    Ok(done)
}

impl Segments {
    /// The segments that nothing is appended to and that were last written before then, with their octets.
    fn sealed(&self, written_before: i64) -> Result<Vec<(u32, u64)>, EngineError> {
        let directory = &self.shared.directory;
        let current = lock(&self.shared.current).as_ref().map(|current| current.segment);
        let all = place::segments(directory).map_err(|error| cannot("list", directory, &error))?;
        let sealed = |(segment, file): &(u32, Metadata)| {
            Some(*segment) != current && file.mtime() < written_before
        };
        Ok(all
            .iter()
            .filter(|it| sealed(it))
            .map(|(segment, file)| (*segment, file.len()))
            .collect())
    }

    /// Writes the live bodies of a segment into the segment of today, durable when this returns. The
    /// segment stays until the engine has the new places.
    ///
    /// # Errors
    /// [`EngineError::Damaged`] when a body cannot be read whole, and those of writing.
    pub fn compact(&self, segment: u32, live: &[BodyRow]) -> Result<Vec<Move>, EngineError> {
        let mut moves = Vec::with_capacity(live.len());
        let mut octets = Vec::new();
        for BodyRow { id, body, .. } in live {
            match Place::decode(&body.locator)? {
                Place::Segment { segment: at, .. } if at == segment => {}
                at => {
                    let why = format!("body {} is in {at}, not in segment {segment}", id.0);
                    return Err(EngineError::Damaged(why));
                }
            }
            octets.clear();
            self.read(body, 0..body.len, &mut octets)?;
            let place = self.shared.append(&octets, body.crc)?;
            moves.push((*id, body.locator.clone(), place.encode()));
        }
        self.sync()?;
        Ok(moves)
    }

    /// Unlinks a compacted segment. Readers that still hold an old place are sent on.
    ///
    /// # Errors
    /// [`EngineError::Damaged`] when it could not be removed.
    pub fn discard(&self, segment: u32, moves: &[Move]) -> Result<(), EngineError> {
        let mut moved = lock(&self.shared.moved);
        for (_, from, to) in moves {
            moved.insert(Place::decode(from)?, Place::decode(to)?);
        }
        drop(moved);
        let directory = &self.shared.directory;
        let path = place::segment_path(directory, segment);
        lock(&self.shared.open).remove(&segment);
        remove(&path)
            .and_then(|()| sync_directory(directory))
            .map_err(|error| cannot("remove", &path, &error))
    }
}

fn difference(more: u64, less: u64) -> i64 {
    i64::try_from(i128::from(more) - i128::from(less)).unwrap_or(i64::MAX)
}
