//! IMAP on the wire: types, framing, parsing and encoding in both directions, MIME structure, LMTP lines.
//!
//! # Invariants
//! - No I/O, no async, no clock, no randomness: bytes go in, values come out, and back.
//! - No input panics. "Need more bytes" is not an error.
//! - Nothing here expands a range: `1:4294967295` costs as much as `1`.
//!
//! # Standards
//! RFC 3501, RFC 4466 and RFC 7162 for the grammar, and the extensions named in each module.

pub mod acl;
pub mod command;
pub mod command_encode;
pub mod date;
pub mod encode;
pub mod flag;
pub mod frame;
pub mod fuzz;
mod incoming;
pub mod lmtp;
pub mod message;
pub mod namespace;
pub mod number;
pub mod parse;
pub mod pattern;
pub mod quota;
pub mod response;
pub mod set;
pub mod utf7;
