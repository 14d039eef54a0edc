//! An IMAP client for programs that share a mailbox.
//!
//! | to | there is |
//! | --- | --- |
//! | speak to a server | [`Connection`]: commands are typed, pipelined when one likes, answered in order |
//! | change a message only if nobody else has | [`Connection::store`] with [`StoreRequest::unchanged_since`], which tells for each message whether this write *won*, was *lost* to another, came too late for one that has *vanished*, or is *unproven* |
//! | keep a copy | [`mirror::Mirror`], which says what has changed since it was last level |
//! | append and fetch messages of any size | [`Connection::append_from`] and [`Connection::fetch_body_to`] |
//! | share work | [`queue::Queue`], which makes a mailbox a queue of jobs, each held by one worker at a time |
//! | log in one's own way | [`sasl`] |
//! | know the server | [`Quirks`], which say what is known of it beyond what it lists |
//! | test a server | [`dialogue`], which plays files that say what a client sends and what a server is to answer |
//!
//! The core, [`Conversation`], does no I/O: octets in, octets out. [`Connection`] drives it with tokio. So it is with
//! [`sasl`] and with the mirror: a program that has a loop of its own drives them itself. The README has two programs to
//! begin with.
//!
//! # Opening
//!
//! TLS is what the address says, `imaps` from the first octet and `imap` by STARTTLS; the login is by the strongest
//! mechanism that the server lists, SCRAM bound to the TLS connection if it can be. Nothing secret is sent without TLS
//! to another machine.
//!
//! ```no_run
//! use client::{Connection, Credentials, Options, Place};
//!
//! # async fn example() -> Result<(), client::Error> {
//! let place: Place = "imaps://mail.example/Jobs".parse()?;
//! let credentials = Credentials::password("ada", "secret");
//! let mut connection = Connection::open(&place, &credentials, &Options::system()?).await?;
//! connection.select("Jobs", false).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Writing under a condition
//!
//! The condition is the mod-sequence at which the message was seen: its own, from a FETCH. HIGHESTMODSEQ is none; it may
//! be ahead of what was seen, and a write would pass that should not. Of two that write under the same condition one
//! wins. Who has won is what the server says of the message afterwards, not its OK: some servers say OK to both.
//!
//! ```no_run
//! use client::imap::flag::{Flag, Keyword};
//! use client::imap::number::Uid;
//! use client::imap::set::UidSet;
//! use client::{Connection, Fate};
//!
//! # async fn example(connection: &mut Connection, uid: Uid) -> Result<(), client::Error> {
//! let claimed = Keyword::new("$Claimed").map(Flag::Keyword).into_iter().collect::<Vec<_>>();
//! let one = UidSet::one(uid);
//! let answer = connection.fetch_state(&one).await?;
//! let Some(seen) = answer.fetched().find_map(|message| message.mod_seq) else { return Ok(()) };
//! let outcome = connection.store(one).unchanged_since(seen).add(&claimed).await?;
//! match outcome.of(uid) {
//!     Fate::Won(won) => println!("mine; the next condition is {}", won.mod_seq),
//!     Fate::Lost => println!("changed since: look again, then perhaps try again"),
//!     Fate::Vanished => println!("gone: there is nothing to do"),
//!     Fate::Unproven => println!("the server gave no sign: take it for another's"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Keeping a copy
//!
//! What a [`mirror::Delta`] says is applied first and committed then; the checkpoint is stored with what was applied.
//! A delta that was not committed comes again.
//!
//! ```no_run
//! use client::Connection;
//! use client::mirror::Mirror;
//! use std::time::Duration;
//!
//! # async fn example(connection: &mut Connection) -> Result<(), client::Error> {
//! // Or Mirror::resume, from what was stored.
//! let mut mirror = Mirror::new("INBOX");
//! let mut delta = mirror.sync(connection).await?;
//! loop {
//!     for (uid, state) in &delta.changed {
//!         println!("{uid} has {:?}", state.flags);
//!     }
//!     println!("{} are gone", delta.gone.len());
//!     let checkpoint = delta.commit();
//!     println!("level at {:?}", checkpoint.mod_seq());
//!     // IDLE, until others have done something.
//!     delta = mirror.wait(connection, Duration::from_mins(20)).await?;
//! }
//! # }
//! ```
//!
//! # Waiting
//!
//! [`Connection::idle`] waits on the selected mailbox, and where the server has NOTIFY on others as well:
//!
//! ```no_run
//! # async fn example(connection: &mut client::Connection) -> Result<(), client::Error> {
//! use std::time::Duration;
//!
//! connection.notify(&["Jobs", "Jobs/Urgent"]).await?;
//! let told = connection.idle(Duration::from_mins(20)).await?;
//! for (mailbox, items) in told.statuses() {
//!     println!("{mailbox}: {items:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Messages of any size
//!
//! ```no_run
//! use client::imap::number::Uid;
//! use client::{Connection, whole_message};
//!
//! # async fn example(connection: &mut Connection, uid: Uid) -> Result<(), client::Error> {
//! let mut file = Vec::new(); // Anything that is AsyncWrite.
//! match connection.fetch_body_to(uid, whole_message(), &mut file).await? {
//!     Some(octets) => println!("{octets} octets: the whole message"),
//!     None => println!("there is no such message any more"),
//! }
//! let size = file.len() as u64;
//! connection.append_from("Archive", &[], None, size, &mut file.as_slice()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Without I/O
//!
//! ```
//! use client::Conversation;
//! use client::imap::command::CommandBody;
//!
//! let mut conversation = Conversation::default();
//! conversation.receive(b"* OK [CAPABILITY IMAP4rev1 QRESYNC] hello\r\n").unwrap();
//! let ticket = conversation.submit(CommandBody::Noop).unwrap();
//! assert_eq!(conversation.take_output(), b"h1 NOOP\r\n");
//! conversation.receive(b"* 3 EXISTS\r\nh1 OK done\r\n").unwrap();
//! let answer = conversation.take_answer(ticket).unwrap();
//! assert_eq!(answer.untagged.len(), 1);
//! assert!(conversation.has("QRESYNC"));
//! ```
//!
//! # Invariants
//! - Nothing a server sends panics; what cannot be parsed is passed over and counted.
//! - A tagged OK alone never counts as a proof that a conditional write was done.
//! - Futures that were dropped leave what their commands told behind, but for IDLE: a mirror is to be synchronised anew
//!   then.
//!
//! # Standards
//! RFC 3501, RFC 7162 (CONDSTORE and QRESYNC), and what each module names.

mod answer;
mod connection;
mod conversation;
pub mod dialogue;
mod error;
pub mod mirror;
mod place;
pub mod queue;
pub mod quirks;
pub mod raw;
mod record;
pub mod sasl;
pub mod store;
mod tls;

pub use answer::{Answer, Fetched};
pub use connection::{Connection, Credentials, Options};
pub use conversation::{Conversation, NewMessage, Progress, Ticket, whole_message};
pub use error::Error;
pub use imap;
pub use place::{Place, PlaceError};
pub use quirks::{Quirks, Server};
pub use record::Passage;
pub use store::{Fate, StoreOutcome, StoreRequest, Won};
pub use tls::{Tls, TlsError};

/// The README's programs are compiled as well.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
