//! What is computed about a message once, at arrival.

/// A message's structure.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Structure;

/// Computes the structure; never fails.
#[must_use]
pub fn analyse(_octets: &[u8]) -> Structure {
    Structure
}

impl Structure {
    /// The stored form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When the form is cut short.
    pub fn from_bytes(_octets: &[u8]) -> Result<Self, std::fmt::Error> {
        Ok(Self)
    }
}
