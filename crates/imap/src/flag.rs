//! Message flags: the system flags, `\Recent`, keywords and flags that only some servers know.
//!
//! # Standards
//! RFC 3501 §2.3.2 and §9 (`flag`), RFC 5788 (keywords are case-insensitive).

use std::fmt;

/// The five system flags that a client may store (RFC 3501 §2.3.2). `\Recent` is not one of them [S-18].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SystemFlag {
    /// `\Answered`
    Answered,
    /// `\Flagged`
    Flagged,
    /// `\Deleted`
    Deleted,
    /// `\Seen`
    Seen,
    /// `\Draft`
    Draft,
}

impl SystemFlag {
    /// All system flags, in the order in which they are written.
    pub const ALL: [Self; 5] =
        [Self::Answered, Self::Flagged, Self::Deleted, Self::Seen, Self::Draft];

    /// The flag as it stands on the wire, backslash included.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "\\Answered",
            Self::Flagged => "\\Flagged",
            Self::Deleted => "\\Deleted",
            Self::Seen => "\\Seen",
            Self::Draft => "\\Draft",
        }
    }
}

impl fmt::Display for SystemFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A keyword: an atom, compared without regard to ASCII case, kept as first written.
#[derive(Clone, Debug)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// The greatest length of a keyword in octets.
    pub const LEN_MAX: usize = 255;

    /// The keyword, or `None` when the text is not an atom of 1 to [`Self::LEN_MAX`] octets (RFC 3501 §9 `flag-keyword`).
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let atom = !text.is_empty()
            && text.len() <= Self::LEN_MAX
            && text.bytes().all(|b| b > 0x20 && b < 0x7f && !b"(){%*\"\\]".contains(&b));
        atom.then(|| Self(text.into()))
    }

    /// The keyword as first written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Keyword {}

impl std::hash::Hash for Keyword {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for b in self.0.bytes() {
            state.write_u8(b.to_ascii_lowercase());
        }
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A flag that a client names in STORE, APPEND or SEARCH.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Flag {
    /// One of the five system flags.
    System(SystemFlag),
    /// A keyword.
    Keyword(Keyword),
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(flag) => flag.fmt(f),
            Self::Keyword(keyword) => keyword.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_ignore_case_and_refuse_specials() {
        assert_eq!(Keyword::new("$Work"), Keyword::new("$wORK"));
        for bad in ["", "a b", "a\"", "a\\b", "a]", "(", "a*", "ü", "a%"] {
            assert!(Keyword::new(bad).is_none(), "{bad:?}");
        }
    }
}
