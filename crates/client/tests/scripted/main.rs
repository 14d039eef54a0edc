//! Connections to servers that are played from a text.

#![expect(clippy::expect_used, clippy::panic, reason = "a test says what went wrong by failing")]

mod extensions;
mod login;
mod queue;
mod quirks;
mod script;
mod settle;
mod store;
mod surface;
mod transfer;
