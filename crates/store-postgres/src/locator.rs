//! Where a body is, as its row says: a tag, and a number that is given out once.

use store::engine::EngineError;

/// Octets in a piece of a blob: one block of those that a body is checked by.
pub(crate) const PIECE: usize = 64 * 1024;

/// What the locator of a body in the database begins with.
const BLOB: u8 = b'b';
/// What that of a body in an object store begins with.
const OBJECT: u8 = b'o';

/// The place of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Locator {
    /// In the database: the blob's number.
    Blob(u64),
    /// In an object store: a number of this database, and a random one, since a database that was restored gives
    /// numbers out again.
    Object(u64, u64),
}

impl Locator {
    pub(crate) fn octets(self) -> Vec<u8> {
        match self {
            Self::Blob(number) => [&[BLOB][..], &number.to_be_bytes()].concat(),
            Self::Object(number, random) => {
                [&[OBJECT][..], &number.to_be_bytes(), &random.to_be_bytes()].concat()
            }
        }
    }

    pub(crate) fn parse(octets: &[u8]) -> Result<Self, EngineError> {
        let number = |at: usize| {
            let octets = octets.get(at..)?.first_chunk::<8>()?;
            Some(u64::from_be_bytes(*octets))
        };
        let found = match (octets.first(), octets.len()) {
            (Some(&BLOB), 9) => number(1).map(Self::Blob),
            (Some(&OBJECT), 17) => number(1).zip(number(9)).map(|(a, b)| Self::Object(a, b)),
            _ => None,
        };
        let foreign = || {
            EngineError::Damaged(
                "a body is neither in this database nor in an object store: restore the database"
                    .into(),
            )
        };
        found.ok_or_else(foreign)
    }

    /// The number of one that must be in the database.
    pub(crate) fn blob(octets: &[u8]) -> Result<u64, EngineError> {
        match Self::parse(octets)? {
            Self::Blob(number) => Ok(number),
            Self::Object(..) => Err(EngineError::Damaged(
                "a body is in an object store: say with --bodies which".into(),
            )),
        }
    }
}
