//! Mailboxes, mod-sequences, history and bodies behind one engine trait.

pub mod engine;
pub mod memory;
pub mod rules;
