//! The real binary over real sockets: greeting to BYE, LMTP, administration, and what goes wrong.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by failing"
)]

mod admin;
mod client;
mod demo;
mod ends;
mod imap;
mod lmtp;
mod queue;
mod replay;
mod sharing;
mod support;
