//! One client's conversation: the IMAP state machine over a store.
//!
//! Octets go in through [`Session::receive`], answers come out through a [`Sink`]; nothing here knows a socket,
//! a runtime or a clock. What all sessions share stands in [`Shared`]; who a client is, an [`Authenticator`]
//! says.
//!
//! # Invariants
//! - An answer leaves only after what it reports is durable [H1]: the store resolves a change no earlier.
//! - A session holds nothing that another waits for while it writes to its client [H7].
//! - No input panics; every refusal says what was expected.
//!
//! # Standards
//! RFC 3501 and RFC 7162, and the extensions named in [`capability`] and in each command's file.

mod account;
pub mod capability;
mod command;
mod names;
mod refusal;
mod search;
mod session;
mod shared;
mod view;

pub use account::{AuthFailure, Authenticator, Exchange, Identity, Peer, Step};
pub use imap::encode::Status;
pub use names::{OTHERS, SHARED};
pub use search::SearchIndex;
pub use session::{Bye, Next, Session};
pub use shared::{BoxFuture, Closed, Config, Event, Observer, Shared, Silent, Sink};
