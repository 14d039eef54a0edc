//! Claims per second: workers claim and acknowledge jobs of one mailbox, and nothing else.
//!
//! `claims IMAP-URL JOBS WORKERS BATCH`; the password is in HIGHWATER_PASSWORD. Prints one line: claims a second, and
//! how many were refused. bench/queue runs it against several servers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for measuring, which ends when something is wrong"
)]

use client::imap::command::{CommandBody, MailboxName, Secret};
use client::queue::{NewJob, Policy, Queue, Settle, Settled, message};
use client::{Connection, Credentials, Options, Place};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[derive(Clone)]
struct Reach {
    place: Place,
    credentials: Credentials,
    mailbox: String,
}

impl Reach {
    async fn connect(&self) -> Connection {
        let patience = Duration::from_mins(2);
        let options = Options::new(None).with_patience(patience);
        Connection::open(&self.place, &self.credentials, &options).await.unwrap()
    }

    async fn queue(&self) -> Queue {
        let policy = Policy { lease: Duration::from_mins(5), ..Policy::default() };
        Queue::open(self.connect().await, &self.mailbox, policy).await.unwrap()
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, jobs, workers, batch] = words.as_slice() else {
        panic!("usage: claims IMAP-URL JOBS WORKERS BATCH");
    };
    let place: Place = url.parse().unwrap();
    let password = Secret(std::env::var("HIGHWATER_PASSWORD").unwrap().into_bytes());
    let user = place.user.clone().unwrap();
    let credentials = Credentials::Password { user, password };
    let mailbox = format!("claims-{}", std::process::id());
    let reach = Reach { place, credentials, mailbox };
    let number = |text: &String| text.parse::<usize>().unwrap();
    let (jobs, workers, batch) = (number(jobs), number(workers), number(batch));
    put(&reach, jobs).await;
    let done = Arc::new(AtomicU64::new(0));
    let mut queues = Vec::new();
    for n in 0..workers {
        let mut queue = reach.queue().await;
        queue.load().await.unwrap();
        queue.register(&format!("worker {n}"), "claims").await.unwrap();
        queues.push(queue);
    }
    let begun = Instant::now();
    let all = queues.into_iter().map(|queue| work(queue, batch, jobs as u64, Arc::clone(&done)));
    let running: Vec<_> = all.map(tokio::spawn).collect();
    let mut refused = 0;
    for task in running {
        refused += task.await.unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{:.0} {refused}", jobs as f64 / seconds);
    let mut connection = reach.connect().await;
    connection.run(CommandBody::Delete(MailboxName(reach.mailbox.clone()))).await.unwrap();
    connection.close().await;
}

async fn put(reach: &Reach, jobs: usize) {
    let mut connection = reach.connect().await;
    let mailbox = MailboxName(reach.mailbox.clone());
    connection.run(CommandBody::Create { mailbox, special_use: None }).await.unwrap();
    let octets = message("a job", None, b"something to do\n");
    let job = NewJob { octets, priority: 0, due: None };
    reach.queue().await.put(&vec![job; jobs]).await.unwrap();
}

/// Claims and acknowledges until all is done; answers how many settlements were refused.
async fn work(mut queue: Queue, batch: usize, jobs: u64, done: Arc<AtomicU64>) -> u64 {
    let mut refused = 0;
    while done.load(Ordering::Relaxed) < jobs {
        let mut claims = queue.claim(batch).await.unwrap();
        if claims.is_empty() {
            queue.refresh().await.unwrap();
            continue;
        }
        let all = claims.iter_mut().map(|claim| (claim, Settle::Ack)).collect();
        for settled in queue.settle(all).await.unwrap() {
            match settled {
                Settled::Done => drop(done.fetch_add(1, Ordering::Relaxed)),
                Settled::Lost | Settled::Gone => refused += 1,
            }
        }
    }
    refused
}
