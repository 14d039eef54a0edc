//! The data directory: made, locked for one process, and its files private.
//!
//! # Invariants
//! - One process at a time: the lock is held for the life of [`Directory`].
//! - Files are made with mode 0600, directories with 0700.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why the embedded engine could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process holds the directory.
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process, when it wrote its number down.
        pid: Option<u32>,
    },
    /// The database is of a later program.
    Newer {
        /// The database.
        database: PathBuf,
        /// The format that it has.
        found: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// The file is a database of something else.
    Foreign(PathBuf),
    /// The file system refused.
    Io {
        /// What was tried.
        tried: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The database refused, or is damaged.
    Database {
        /// What was tried.
        tried: &'static str,
        /// With which database.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { directory, pid } => {
                write!(f, "the data directory {} is in use", directory.display())?;
                if let Some(pid) = pid {
                    write!(f, " by process {pid}")?;
                }
                f.write_str("; stop that server first, or give this one a directory of its own")
            }
            Self::Newer { database, found, known } => write!(
                f,
                "{} has format {found}, this program knows formats up to {known}; use a newer program",
                database.display()
            ),
            Self::Foreign(path) => write!(
                f,
                "{} is not a Highwater database; move it away or choose another directory",
                path.display()
            ),
            Self::Io { tried, path, source } => {
                write!(f, "cannot {tried} {}: {source}", path.display())?;
                match source.kind() {
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                        f.write_str("; the directory must be writable for the user that runs this")
                    }
                    _ => Ok(()),
                }
            }
            Self::Database { tried, path, why } => {
                write!(f, "cannot {tried} {}: {why}", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A data directory, locked for as long as this lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Unlocked when it is closed.
    _lock: File,
}

impl Directory {
    /// Makes the directory where there is none, and locks it.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when another process has it, [`OpenError::Io`].
    pub fn lock(path: &Path) -> Result<Self, OpenError> {
        private_directory(path).map_err(io_error("make the directory", path))?;
        let file = path.join("lock");
        let mut lock = private_file(&file).map_err(io_error("open", &file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
                return Err(OpenError::InUse { directory: path.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &file)(source)),
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(io_error("write", &file))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes created, renamed and removed names durable.
    pub(super) fn sync(&self) -> Result<(), OpenError> {
        sync_directory(&self.path).map_err(io_error("sync", &self.path))
    }
}

/// Makes a directory, and those above it, for this user alone; one that is there is left as it is.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a file for reading and writing, made for this user alone where there is none.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a file; none there is as good.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn io_error(
    tried: &'static str,
    path: &Path,
) -> impl Fn(io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Io { tried, path: path.clone(), source }
}
