//! Everything that the library does with one server, once: each mechanism that it lists, a conditional STORE and its
//! loser, a mirror, IDLE, NOTIFY, COMPRESS, and a large message there and back.
//!
//! `tour IMAP-URL [CERTIFICATE.pem]`; the password is in HIGHWATER_PASSWORD. It works in a mailbox of its own, which it
//! deletes, prints a line for each thing done, and ends at the first that fails.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for showing, which ends when something is wrong"
)]

use client::imap::command::{CommandBody, MailboxName, Secret};
use client::imap::flag::{Flag, Keyword};
use client::imap::number::Uid;
use client::imap::set::UidSet;
use client::mirror::Mirror;
use client::sasl::{Context, Exchange, Mechanism};
use client::{Connection, Credentials, Fate, Options, Place, Tls, whole_message};
use std::time::{Duration, SystemTime};

const PASSWORDS: [Mechanism; 3] =
    [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha256Plus];
const MESSAGE_BYTES: usize = 20 * 1024 * 1024;

struct Way {
    place: Place,
    credentials: Credentials,
    options: Options,
}

impl Way {
    async fn connect(&self) -> Connection {
        Connection::open(&self.place, &self.credentials, &self.options).await.unwrap()
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut words = std::env::args().skip(1);
    let Some(url) = words.next() else { panic!("usage: tour IMAP-URL [CERTIFICATE.pem]") };
    let tls = words.next().map(|file| Tls::only(file.as_ref()).unwrap());
    let place: Place = url.parse().unwrap();
    let password = std::env::var("HIGHWATER_PASSWORD").unwrap();
    let user = place.user.clone().unwrap();
    let credentials = Credentials::password(user.clone(), password.clone());
    let way = Way { place, credentials, options: Options::new(tls) };
    runtime.block_on(async {
        logins(&way, &user, &password).await;
        let mailbox = format!("tour-{}", std::process::id());
        let name = MailboxName(mailbox.clone());
        let mut connection = way.connect().await;
        let create = CommandBody::Create { mailbox: name.clone(), special_use: None };
        connection.run(create).await.unwrap();
        stores(&way, &mailbox).await;
        waits(&way, &mailbox).await;
        large(&way, &mailbox).await;
        connection.run(CommandBody::Delete(name)).await.unwrap();
        connection.close().await;
    });
}

/// Every mechanism that the server lists, by name, and LOGIN.
async fn logins(way: &Way, user: &str, password: &str) {
    let open = || Connection::open(&way.place, &Credentials::None, &way.options);
    for mechanism in PASSWORDS {
        let mut connection = open().await.unwrap();
        if !connection.has(&format!("AUTH={}", mechanism.as_str())) {
            println!("{} is not listed", mechanism.as_str());
            continue;
        }
        let binding = connection.channel_binding().map(<[u8]>::to_vec);
        // A nonce is to be one that nobody can guess; here nobody tries.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let nonce = format!("tour{}", since.as_nanos());
        let mut context = Context::new(&way.place.host, way.place.port, &nonce);
        context.binding = binding.as_deref().filter(|_| mechanism == Mechanism::ScramSha256Plus);
        let exchange = Exchange::new(mechanism, &way.credentials, &context).unwrap();
        connection.authenticate(exchange).await.unwrap();
        println!("{}: logged in", mechanism.as_str());
        connection.close().await;
    }
    let mut connection = open().await.unwrap();
    let (user, password) = (user.as_bytes().to_vec(), Secret(password.as_bytes().to_vec()));
    connection.run(CommandBody::Login { user, password }).await.unwrap();
    println!("LOGIN: logged in, {}", if connection.is_secure() { "by TLS" } else { "in clear" });
    connection.close().await;
}

/// Two write under one condition, and a mirror follows.
async fn stores(way: &Way, mailbox: &str) {
    let (mut one, mut other) = (way.connect().await, way.connect().await);
    one.append(mailbox, &[], None, b"Subject: one\r\n\r\n").await.unwrap();
    let mut mirror = Mirror::new(mailbox);
    let mut watcher = way.connect().await;
    let delta = mirror.sync(&mut watcher).await.unwrap();
    let (uid, state) = delta.changed.first_key_value().unwrap();
    let (uid, seen) = (*uid, state.mod_seq.unwrap());
    println!("mirror: {:?} at {:?}", mirror.way(), delta.commit().mod_seq());
    let flag = |name| Keyword::new(name).map(Flag::Keyword).into_iter().collect::<Vec<_>>();
    let mut fates = Vec::new();
    for (connection, mine) in [(&mut one, flag("$One")), (&mut other, flag("$Other"))] {
        connection.select(mailbox, false).await.unwrap();
        let store = connection.store(UidSet::one(uid)).unchanged_since(seen);
        fates.push(store.add(&mine).await.unwrap());
    }
    assert!(matches!(fates.first().unwrap().of(uid), Fate::Won(_)), "{fates:?}");
    assert_eq!(fates.last().unwrap().of(uid), Fate::Lost);
    println!("conditional STORE: one won, the other lost");
    let delta = mirror.sync(&mut watcher).await.unwrap();
    let flags = &delta.changed.get(&uid).unwrap().flags;
    assert_eq!(flags.as_slice(), ["$One"]);
    let _ = delta.commit();
    println!("mirror: has seen it, {:?}", mirror.reasons());
    for connection in [one, other, watcher] {
        connection.close().await;
    }
}

/// IDLE, and NOTIFY where there is one.
async fn waits(way: &Way, mailbox: &str) {
    let (mut waiting, mut writing) = (way.connect().await, way.connect().await);
    waiting.select(mailbox, true).await.unwrap();
    let arriving = writing.append(mailbox, &[], None, b"Subject: two\r\n\r\n");
    let (told, appended) = tokio::join!(waiting.idle(Duration::from_secs(30)), arriving);
    appended.unwrap();
    assert!(!told.unwrap().untagged.is_empty());
    println!("IDLE: told of an arrival");
    if waiting.has("NOTIFY") {
        let answer = waiting.notify(&[mailbox]).await.unwrap();
        println!("NOTIFY: {} mailboxes told of", answer.statuses().count());
    } else {
        println!("NOTIFY is not listed");
    }
    waiting.close().await;
    writing.close().await;
}

/// A message of 20 MB, in clear and compressed.
async fn large(way: &Way, mailbox: &str) {
    let line = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789\r\n";
    let mut message = b"Subject: large\r\n\r\n".to_vec();
    message.extend(line.iter().copied().cycle().take(MESSAGE_BYTES));
    message.extend_from_slice(b"\r\n");
    let size = message.len() as u64;
    for compressed in [false, true] {
        let mut connection = way.connect().await;
        if compressed && !connection.has("COMPRESS=DEFLATE") {
            println!("COMPRESS=DEFLATE is not listed");
            continue;
        }
        if compressed {
            connection.compress().await.unwrap();
        }
        let mut from = message.as_slice();
        let answer = connection.append_from(mailbox, &[], None, size, &mut from).await.unwrap();
        let (_, uids) = answer.append_uid().unwrap();
        let uid = uids.first().and_then(Uid::new).unwrap();
        connection.select(mailbox, true).await.unwrap();
        let mut back = Vec::new();
        let octets = connection.fetch_body_to(uid, whole_message(), &mut back).await.unwrap();
        assert!(octets == Some(size) && back == message, "it came back otherwise");
        println!("{size} octets there and back{}", if compressed { ", compressed" } else { "" });
        connection.close().await;
    }
}
