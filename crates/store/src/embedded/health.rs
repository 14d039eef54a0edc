//! Whether writing is still allowed.
//!
//! # Invariants
//! - Once broken, broken until the engine is opened anew [H1].

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::directory::private_file;
use crate::engine::EngineError;

#[derive(Debug)]
pub(super) struct Health {
    broken: Mutex<Option<String>>,
    /// The file that tells the next start to recover.
    marker: PathBuf,
}

impl Health {
    pub(super) fn new(marker: PathBuf) -> Self {
        Self { broken: Mutex::new(None), marker }
    }

    pub(super) fn check(&self) -> Result<(), EngineError> {
        self.lock().as_ref().map_or(Ok(()), |why| Err(EngineError::Broken(why.clone())))
    }

    /// Refuses all writes from now on. The marker may fail to be written on a disk that fails; a start
    /// without it finds whatever the kernel still has.
    pub(super) fn break_with(&self, why: String) -> EngineError {
        let mut broken = self.lock();
        if broken.is_none() {
            drop(private_file(&self.marker).and_then(|file| file.sync_all()));
            *broken = Some(why.clone());
        }
        EngineError::Broken(why)
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
