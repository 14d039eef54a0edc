//! Mailboxes, mod-sequences, history and bodies, behind one engine trait.
//!
//! Start at [`Store`]: snapshots out, changes in. The rules that everything stands on are in
//! [`Change`] and in `apply`, `condition` and `message`, which are pure.
//!
//! # Invariants
//! - No network, no runtime.
//! - Rules H1–H8 of `docs/mod-sequences.md`.
//!
//! # Standards
//! RFC 7162 (CONDSTORE and QRESYNC), RFC 3501 (what a mailbox is).

pub mod account;
pub mod acl;
mod apply;
mod batch;
pub mod change;
mod codec;
mod condition;
pub mod contract;
mod delta;
pub mod directory;
pub mod embedded;
pub mod engine;
pub mod flags;
mod history;
mod learn;
pub mod mailbox;
pub mod memory;
pub mod message;
pub mod migrate;
pub mod open;
pub mod own;
mod private;
pub mod quota;
pub mod receive;
mod registry;
pub mod rules;
pub mod segments;
pub mod store;
pub mod tree;

pub use account::{AccountChange, AccountState, MailboxEntry, SpecialUse};
pub use acl::{Acl, AclEntry, Grantee};
pub use change::{Appended, Change, Error, Expunged, NewMessage, Outcome, Stored, Transferred};
pub use directory::Directory;
pub use engine::{AccountId, AccountRow, BodyId, BodyRef, MailboxId};
pub use flags::{FlagBit, FlagSet, Keywords};
pub use mailbox::MailboxState;
pub use message::Message;
pub use open::{Account, Changed, Mailbox};
pub use own::Glance;
pub use quota::{Quota, Usage, UsageChange};
pub use receive::{Body, NewBody, Received, Receiver};
pub use store::{BatchReport, Clock, Committer, Executor, Inline, Options, Pending, Store};
pub use tree::{Tree, Walk};
