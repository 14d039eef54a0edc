//! The contract, on every engine and place for bodies of this crate.
#![allow(clippy::unwrap_used, reason = "tests, which fail by panicking")]

use store::contract::{Subject, run};
use store::embedded::Embedded;
use store::engine::{BodyStore, Engine};
use store::memory::{Fate, Memory, MemoryBodies};
use store::segments::{Limits, Segments};
use tempfile::TempDir;

struct InMemory(Memory, MemoryBodies);

impl Subject for InMemory {
    fn engine(&self) -> &dyn Engine {
        &self.0
    }

    fn bodies(&self) -> &dyn BodyStore {
        &self.1
    }

    fn reopen(self) -> Self {
        Self(self.0.crash(|| Fate::Lost), self.1.crash(|| Fate::Kept))
    }
}

struct OnDisk {
    engine: Embedded,
    bodies: Segments,
    directory: TempDir,
}

impl OnDisk {
    fn open(directory: TempDir) -> Self {
        let engine = Embedded::open(directory.path()).unwrap();
        let bodies = Segments::open(directory.path(), Limits::default()).unwrap();
        Self { engine, bodies, directory }
    }
}

impl Subject for OnDisk {
    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    fn bodies(&self) -> &dyn BodyStore {
        &self.bodies
    }

    fn reopen(self) -> Self {
        let Self { engine, bodies, directory } = self;
        drop((engine, bodies));
        Self::open(directory)
    }
}

#[test]
fn memory_keeps_the_contract() {
    run(|| InMemory(Memory::new(), MemoryBodies::new()));
}

#[test]
fn shared_memory_keeps_the_contract() {
    run(|| InMemory(Memory::shared(), MemoryBodies::new()));
}

#[test]
fn embedded_and_segments_keep_the_contract() {
    run(|| OnDisk::open(TempDir::new().unwrap()));
}
