//! Where a body is, as its row says.

use store::engine::EngineError;

/// Octets in a piece of a blob: one block of those that a body is checked by.
pub(crate) const PIECE: usize = 64 * 1024;

/// What the locator of a body in the database begins with.
const BLOB: u8 = b'b';

/// The place of a body in the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Locator {
    /// The blob's number.
    pub(crate) blob: u64,
}

impl Locator {
    pub(crate) fn octets(self) -> Vec<u8> {
        let mut octets = vec![BLOB];
        octets.extend_from_slice(&self.blob.to_be_bytes());
        octets
    }

    pub(crate) fn parse(octets: &[u8]) -> Result<Self, EngineError> {
        let foreign = || {
            EngineError::Damaged(
                "a body is not in this database: say with --bodies where bodies are".into(),
            )
        };
        let (tag, number) = octets.split_first().ok_or_else(foreign)?;
        let number =
            <[u8; 8]>::try_from(number).ok().filter(|_| *tag == BLOB).ok_or_else(foreign)?;
        Ok(Self { blob: u64::from_be_bytes(number) })
    }
}
