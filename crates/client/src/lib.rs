//! An IMAP client for programs that share a mailbox.
//!
//! - [`Connection`] speaks to a server: commands are typed, pipelined when one likes, answered in order.
//! - [`Connection::store`] with [`StoreRequest::unchanged_since`] tells for each message whether this write *won*,
//!   was *lost* to another, came too late for a message that has *vanished*, or is *unproven*.
//! - [`queue::Queue`] makes a mailbox a queue of jobs, each held by one worker at a time.
//!
//! The core, [`Conversation`], does no I/O: octets in, octets out. [`Connection`] drives it with tokio.
//!
//! # Invariants
//! - Nothing a server sends panics; what cannot be parsed is passed over and counted.
//! - A tagged OK alone never counts as a proof that a conditional write was done.
//!
//! # Standards
//! RFC 3501, RFC 7162 (CONDSTORE and QRESYNC), and what each module names.

mod answer;
mod connection;
mod conversation;
mod error;
pub mod mirror;
mod place;
pub mod queue;
pub mod quirks;
mod record;
pub mod sasl;
pub mod store;
mod tls;

pub use answer::{Answer, Fetched};
pub use connection::{Connection, Credentials, Options};
pub use conversation::{Conversation, NewMessage, Ticket};
pub use error::Error;
pub use imap;
pub use place::{Place, PlaceError};
pub use quirks::{Quirks, Server};
pub use record::Passage;
pub use store::{StoreOutcome, StoreRequest, Won};
pub use tls::{Tls, TlsError};
