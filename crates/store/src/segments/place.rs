//! Where a body is: its locator, the names of files, and the record in a segment.
//!
//! # Invariants
//! - A locator begins with its version; all locators of one segment begin alike and sort by offset.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::EngineError;

const VERSION: u8 = 1;
const SEGMENT: u8 = 1;
const LARGE: u8 = 2;
const MAGIC: [u8; 4] = *b"HWB1";
/// Magic, length, CRC.
pub(super) const HEADER_OCTETS: u64 = 12;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Place {
    /// The record at this offset.
    Segment { segment: u32, offset: u64 },
    /// A file of its own.
    Large { number: u64 },
}

impl Place {
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Self::Segment { segment, offset } => {
                let mut locator = segment_prefix(segment);
                locator.extend(offset.to_be_bytes());
                locator
            }
            Self::Large { number } => {
                let mut locator = vec![VERSION, LARGE];
                locator.extend(number.to_be_bytes());
                locator
            }
        }
    }

    pub(super) fn decode(locator: &[u8]) -> Result<Self, EngineError> {
        let unknown = || {
            EngineError::Damaged(format!(
                "{locator:?} is not the locator of a body in files; a newer program may have written it"
            ))
        };
        let place = match locator {
            [VERSION, SEGMENT, rest @ ..] => {
                let (segment, offset) = rest.split_first_chunk().ok_or_else(unknown)?;
                let offset = offset.try_into().map_err(|_| unknown())?;
                Self::Segment {
                    segment: u32::from_be_bytes(*segment),
                    offset: u64::from_be_bytes(offset),
                }
            }
            [VERSION, LARGE, number @ ..] => {
                let number = number.try_into().map_err(|_| unknown())?;
                Self::Large { number: u64::from_be_bytes(number) }
            }
            _ => return Err(unknown()),
        };
        Ok(place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { segment, offset } => {
                write!(f, "bodies/{segment:06}.seg at octet {offset}")
            }
            Self::Large { number } => write!(f, "bodies/large/{number:016x}"),
        }
    }
}

/// How the locators of a segment's bodies begin.
pub(super) fn segment_prefix(segment: u32) -> Vec<u8> {
    let mut prefix = vec![VERSION, SEGMENT];
    prefix.extend(segment.to_be_bytes());
    prefix
}

pub(super) fn segment_path(directory: &Path, segment: u32) -> PathBuf {
    directory.join(format!("{segment:06}.seg"))
}

pub(super) fn large_path(large: &Path, number: u64) -> PathBuf {
    large.join(format!("{number:016x}"))
}

/// The name while a large body arrives.
pub(super) fn unfinished_path(large: &Path, number: u64) -> PathBuf {
    large.join(format!("{number:016x}.tmp"))
}

/// The record of a small body. A longer one has a file of its own, so the length fits.
pub(super) fn record(octets: &[u8], crc: u32) -> Vec<u8> {
    let len = u32::try_from(octets.len()).unwrap_or(u32::MAX);
    let mut record = Vec::with_capacity(octets.len() + 12);
    record.extend(MAGIC);
    record.extend(len.to_be_bytes());
    record.extend(crc.to_be_bytes());
    record.extend_from_slice(octets);
    record
}

/// The segments that there are, by number.
pub(super) fn segments(directory: &Path) -> io::Result<Vec<(u32, Metadata)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".seg")?.parse().ok());
        if let Some(number) = number {
            found.push((number, entry.metadata()?));
        }
    }
    found.sort_by_key(|(number, _)| *number);
    Ok(found)
}

pub(super) struct LargeFile {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) unfinished: bool,
    pub(super) metadata: Metadata,
}

pub(super) fn large_files(large: &Path) -> io::Result<Vec<LargeFile>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(large)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let (number, unfinished) = match name.strip_suffix(".tmp") {
            Some(number) => (number, true),
            None => (name, false),
        };
        let Ok(number) = u64::from_str_radix(number, 16) else { continue };
        let metadata = match entry.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        found.push(LargeFile { number, path: entry.path(), unfinished, metadata });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locators_come_back_and_sort_by_offset() {
        let places = [
            Place::Segment { segment: 1, offset: u64::MAX },
            Place::Segment { segment: 256, offset: 0 },
            Place::Segment { segment: 256, offset: 255 },
            Place::Segment { segment: 256, offset: 256 },
            Place::Large { number: u64::MAX },
        ];
        let locators: Vec<_> = places.iter().map(|place| place.encode()).collect();
        assert!(locators.is_sorted());
        for (place, locator) in places.iter().zip(&locators) {
            assert_eq!(Place::decode(locator).unwrap(), *place);
        }
        assert!(locators[1].starts_with(&segment_prefix(256)));
    }

    #[test]
    fn other_locators_are_refused() {
        for locator in [&[][..], &[1], &[2, 1, 0, 0, 0, 0], &[1, 1, 0, 0], &[1, 2, 0], &[1, 3]] {
            assert!(matches!(Place::decode(locator), Err(EngineError::Damaged(_))));
        }
    }
}
