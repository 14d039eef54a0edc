//! A value of whatever form: what ENVELOPE, BODY and BODYSTRUCTURE hold, and what nobody here knows.
//!
//! # Standards
//! RFC 3501 §4 (data formats), RFC 4466 §2.2 (`tagged-ext-val`).

use super::Parsed;
use crate::parse::{Cursor, DecodeError};

/// How deep values may nest: more than BODYSTRUCTURE needs for a hundred levels of parts.
const DEPTH_MAX: usize = 300;

/// A value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// `NIL`
    Nil,
    /// A number, an atom, a flag, a set.
    Atom(Vec<u8>),
    /// A quoted string or a literal.
    String(Vec<u8>),
    /// `( … )`
    List(Vec<Value>),
}

impl Value {
    /// Parses octets that are one value.
    ///
    /// # Errors
    /// When they are none, or more than one.
    pub fn parse(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut c = Cursor::new(octets);
        let value = value(&mut c)?;
        if c.is_end() { Ok(value) } else { Err(c.error("the end of the value")) }
    }

    /// The octets of an atom or a string.
    #[must_use]
    pub fn octets(&self) -> Option<&[u8]> {
        match self {
            Self::Atom(octets) | Self::String(octets) => Some(octets),
            Self::Nil | Self::List(_) => None,
        }
    }

    /// The text of an atom or a string; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        self.octets().map(|octets| String::from_utf8_lossy(octets).into_owned())
    }

    /// The number that an atom is.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        let Self::Atom(digits) = self else { return None };
        let mut c = Cursor::new(digits);
        c.number().ok().filter(|_| c.is_end())
    }

    /// The values of a list.
    #[must_use]
    pub fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }
}

/// The next value.
pub(super) fn value(c: &mut Cursor<'_>) -> Parsed<Value> {
    nested(c, 0)
}

fn nested(c: &mut Cursor<'_>, depth: usize) -> Parsed<Value> {
    if depth > DEPTH_MAX {
        return Err(c.error("at most 300 levels of lists"));
    }
    match c.peek() {
        Some(b'"') => Ok(Value::String(c.string("a string")?.into_owned())),
        Some(b'{' | b'~') => Ok(Value::String(c.literal8()?.to_vec())),
        Some(b'(') => {
            c.skip(1);
            let mut values = Vec::new();
            // The parts of a multipart stand side by side.
            while !c.take(b')') {
                if !c.take(b' ') {
                    values.push(nested(c, depth + 1)?);
                }
            }
            Ok(Value::List(values))
        }
        _ => {
            let atom = c.some_while("a value", |b| b > b' ' && !b"(){\"".contains(&b))?;
            let nil = atom.eq_ignore_ascii_case(b"NIL");
            Ok(if nil { Value::Nil } else { Value::Atom(atom.to_vec()) })
        }
    }
}
