//! The store's engine on PostgreSQL: many nodes, one truth.
//!
//! Every node holds in memory what it has read, takes the rows of the logs that it is about to write, reads what others
//! wrote since, applies, appends and commits. Nothing of consensus or replication is here: that is PostgreSQL's.
//!
//! # Invariants
//! - A commit that was acknowledged would survive the loss of the primary, as far as the server's set-up allows: see
//!   [`Durability`] [H1].
//! - A commit whose answer was lost is in doubt, and the doubt is resolved before anything is answered [H1].
//! - What was read is given out only after this node has committed something since, acknowledged by the standby: what
//!   was visible before may not have been there [H1].
//! - A database that has lost acknowledged commits is never taken for the one before [H3, H6]: see `health`.
//! - Keys begin with the account, so that tables shard; no sequences, no advisory locks, no temporary tables.

mod blobs;
mod commit;
mod convert;
mod engine;
mod error;
mod group;
mod health;
mod link;
mod locator;
mod notice;
mod objects;
mod place;
mod pool;
mod read;
mod schema;

pub use blobs::{Blobs, Bodies};
pub use engine::{Durability, Options, Postgres};
pub use error::OpenError;
pub use objects::Objects;
