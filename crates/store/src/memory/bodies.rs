//! Bodies in memory: what was synced survives a crash, the rest as its fate decides.
//!
//! # Invariants
//! - After a failed sync nothing more is written.
//! - A torn body is shorter than its reference says, so reading it is [`EngineError::Damaged`] [H8].

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Fate;
use crate::engine::{BodyRef, BodyStore, BodyWriter, EngineError};

/// A place for bodies in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryBodies {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    bodies: BTreeMap<u64, Body>,
    last: u64,
    fail_next_sync: bool,
    broken: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Body {
    octets: Arc<[u8]>,
    synced: bool,
}

impl MemoryBodies {
    /// An empty place.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next sync fail; nothing is taken any more after it.
    pub fn fail_next_sync(&self) {
        self.lock().fail_next_sync = true;
    }

    /// How many bodies are here.
    pub fn count(&self) -> usize {
        self.lock().bodies.len()
    }

    /// The place as it is found after a crash now; `fate` decides about each body that was finished and
    /// not synced. This one refuses writes from here on.
    pub fn crash(&self, mut fate: impl FnMut() -> Fate) -> Self {
        let mut inner = self.lock();
        inner.broken = Some("the place for bodies has crashed");
        let mut bodies = BTreeMap::new();
        for (number, body) in &inner.bodies {
            let octets = match if body.synced { Fate::Kept } else { fate() } {
                Fate::Kept => Arc::clone(&body.octets),
                Fate::Lost => continue,
                Fate::Torn => body.octets.iter().take(body.octets.len() / 2).copied().collect(),
            };
            bodies.insert(*number, Body { octets, synced: true });
        }
        let last = inner.last;
        Self { inner: Arc::new(Mutex::new(Inner { bodies, last, ..Inner::default() })) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BodyStore for MemoryBodies {
    fn writer(&self) -> Result<Box<dyn BodyWriter>, EngineError> {
        self.lock().writable()?;
        Ok(Box::new(Writer { place: self.clone(), octets: Vec::new() }))
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut inner = self.lock();
        inner.writable()?;
        if inner.fail_next_sync {
            inner.broken = Some("a sync of bodies failed");
            return inner.writable();
        }
        for body in inner.bodies.values_mut() {
            body.synced = true;
        }
        Ok(())
    }

    fn read(
        &self,
        body: &BodyRef,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> Result<(), EngineError> {
        let number = number_of(body)?;
        let octets = self.lock().bodies.get(&number).map(|body| Arc::clone(&body.octets));
        let octets = octets.ok_or_else(|| damaged(number, "is not there"))?;
        if u64::try_from(octets.len()) != Ok(body.len) {
            return Err(damaged(number, "has another length than it was stored with"));
        }
        let end = range.end.min(body.len);
        let start = range.start.min(end);
        let (Ok(from), Ok(to)) = (usize::try_from(start), usize::try_from(end)) else {
            return Err(damaged(number, "is too long for this machine"));
        };
        let part = octets.get(from..to).unwrap_or_default();
        if start == 0 && end == body.len && crc32fast::hash(part) != body.crc {
            return Err(damaged(number, "has a wrong CRC"));
        }
        into.extend_from_slice(part);
        Ok(())
    }

    fn reclaim(&self, bodies: &[BodyRef]) -> Result<(), EngineError> {
        let mut inner = self.lock();
        for body in bodies {
            inner.bodies.remove(&number_of(body)?);
        }
        Ok(())
    }
}

impl Inner {
    fn writable(&self) -> Result<(), EngineError> {
        self.broken.map_or(Ok(()), |why| Err(EngineError::Broken(why.to_owned())))
    }
}

struct Writer {
    place: MemoryBodies,
    octets: Vec<u8>,
}

impl BodyWriter for Writer {
    fn write(&mut self, octets: &[u8]) -> Result<(), EngineError> {
        self.octets.extend_from_slice(octets);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<BodyRef, EngineError> {
        let crc = crc32fast::hash(&self.octets);
        let len = u64::try_from(self.octets.len())
            .map_err(|_| EngineError::Full("the body is too long".to_owned()))?;
        let mut inner = self.place.lock();
        inner.writable()?;
        inner.last += 1;
        let number = inner.last;
        inner.bodies.insert(number, Body { octets: self.octets.into(), synced: false });
        Ok(BodyRef { locator: number.to_be_bytes().to_vec(), len, crc })
    }
}

fn number_of(body: &BodyRef) -> Result<u64, EngineError> {
    let octets = body.locator.as_slice().try_into();
    octets.map(u64::from_be_bytes).map_err(|_| {
        EngineError::Damaged(format!("{:?} is not the locator of a body in memory", body.locator))
    })
}

fn damaged(number: u64, what: &str) -> EngineError {
    EngineError::Damaged(format!("body {number} in memory {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(place: &MemoryBodies, octets: &[u8]) -> BodyRef {
        let mut writer = place.writer().unwrap();
        writer.write(octets).unwrap();
        writer.finish().unwrap()
    }

    fn get(place: &MemoryBodies, body: &BodyRef) -> Option<Vec<u8>> {
        let mut octets = Vec::new();
        place.read(body, 0..u64::MAX, &mut octets).ok().map(|()| octets)
    }

    #[test]
    fn synced_bodies_survive_and_others_meet_their_fate() {
        let place = MemoryBodies::new();
        let synced = put(&place, b"synced");
        place.sync().unwrap();
        let others = [put(&place, b"kept"), put(&place, b"lost"), put(&place, b"torn")];
        let mut fates = [Fate::Kept, Fate::Lost, Fate::Torn].into_iter();

        let found = place.crash(|| fates.next().unwrap());

        assert_eq!(get(&found, &synced).as_deref(), Some(&b"synced"[..]));
        assert_eq!(get(&found, &others[0]).as_deref(), Some(&b"kept"[..]));
        assert_eq!((get(&found, &others[1]), get(&found, &others[2])), (None, None));
        assert!(others.iter().all(|other| other.locator != put(&found, b"new").locator));
        assert!(matches!(place.writer().err(), Some(EngineError::Broken(_))));
    }

    #[test]
    fn a_failed_sync_ends_all_writing() {
        let place = MemoryBodies::new();
        let body = put(&place, b"octets");
        place.fail_next_sync();
        assert!(matches!(place.sync(), Err(EngineError::Broken(_))));
        assert!(matches!(place.sync(), Err(EngineError::Broken(_))));
        assert!(matches!(place.writer().err(), Some(EngineError::Broken(_))));
        assert_eq!(get(&place, &body).as_deref(), Some(&b"octets"[..]));
    }
}
