//! One connection: its session, its prepared statements, what the server remarks beside its answers.
//!
//! # Invariants
//! - A connection whose session is not set as asked is not used: a pooler stands between and would mix sessions.
//! - No answer is waited for longer than [`PATIENCE`]; a connection that is slower is given up.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use store::engine::EngineError;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, NoTls, Notification, Row, Socket, Statement};

use crate::error::{Fault, OpenError, text};
use crate::place::Place;

/// How long an answer may take: longer than the server's own limits for locks, so that its word comes first.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The oldest server that is used: what is tested, and what still gets corrections.
const VERSION_MIN: i32 = 130_000;

/// What is called with each notification.
pub(crate) type Heard = Arc<dyn Fn(Notification) + Send + Sync>;

/// A connection.
pub(crate) struct Link {
    client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
    warned: Arc<AtomicBool>,
    /// Which of the servers that this node met it leads to: see [`crate::health`]. 0 before they have met.
    met: AtomicU64,
}

impl Link {
    /// Connects, and tests that the session is as asked. Called inside the runtime's context.
    pub(crate) async fn connect(
        place: &Place,
        runtime: &Handle,
        heard: Option<Heard>,
    ) -> Result<Self, OpenError> {
        let trying = async {
            match &place.tls {
                Some(tls) => connect(place, tls.clone(), runtime, heard).await,
                None => connect(place, NoTls, runtime, heard).await,
            }
        };
        let refused = |why: String| OpenError::Connect { place: place.shown.clone(), why };
        let link = match timeout(PATIENCE, trying).await {
            Err(_) => return Err(refused("no answer within 10 seconds".into())),
            Ok(Err(error)) => return Err(refused(advice(&error))),
            Ok(Ok(link)) => link,
        };
        link.test_session(place).await?;
        Ok(link)
    }

    async fn test_session(&self, place: &Place) -> Result<(), OpenError> {
        let sql =
            "SELECT current_setting('server_version_num')::int, current_setting('lock_timeout'),
                   current_setting('application_name')";
        let row = patiently(self.client.query_one(sql, &[])).await;
        let failed =
            |fault: Fault| OpenError::Connect { place: place.shown.clone(), why: fault.why() };
        let row = row.map_err(failed)?;
        let unusable = |why: String| OpenError::Server { place: place.shown.clone(), why };
        test_version(row.get(0)).map_err(unusable)?;
        if row.get::<_, String>(1) != "5s" {
            return Err(unusable(
                "a pooler that stands between does not pass on what a session is set to: connect to \
                 PostgreSQL itself"
                    .into(),
            ));
        }
        Ok(())
    }

    /// The number of the server that it leads to.
    pub(crate) fn met(&self) -> u64 {
        self.met.load(Ordering::Acquire)
    }

    pub(crate) fn set_met(&self, number: u64) {
        self.met.store(number, Ordering::Release);
    }

    /// Whether it may be used again.
    pub(crate) fn is_whole(&self) -> bool {
        !self.client.is_closed()
    }

    /// Whether the server has warned since this was asked last. Of a commit it says that it may not be on the standby.
    pub(crate) fn take_warned(&self) -> bool {
        self.warned.swap(false, Ordering::AcqRel)
    }

    /// A statement that takes no parameters, or several of them.
    pub(crate) async fn run(&self, sql: &str) -> Result<(), Fault> {
        patiently(self.client.batch_execute(sql)).await
    }

    /// The statement, prepared once for each connection.
    pub(crate) async fn prepared(&self, sql: &'static str) -> Result<Statement, Fault> {
        let known =
            self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = patiently(self.client.prepare(sql)).await?;
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        statements.insert(sql, statement.clone());
        Ok(statement)
    }

    pub(crate) async fn query(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Fault> {
        let statement = self.prepared(sql).await?;
        patiently(self.client.query(&statement, parameters)).await
    }

    /// Sends everything before any answer is read: one round trip. Answers the first failure.
    pub(crate) async fn pipeline(&self, steps: &[Step<'_>]) -> Result<Vec<Vec<Row>>, Fault> {
        let mut statements = Vec::with_capacity(steps.len());
        for step in steps {
            statements.push(match step {
                Step::Plain(_) => None,
                Step::Query(sql, _) => Some(self.prepared(sql).await?),
            });
        }
        let mut answers: Vec<Answer<'_>> = Vec::with_capacity(steps.len());
        for (step, statement) in steps.iter().zip(&statements) {
            answers.push(match (step, statement) {
                (Step::Query(_, parameters), Some(statement)) => {
                    let parameters: Vec<&(dyn ToSql + Sync)> =
                        parameters.iter().map(|p| p.as_ref() as &(dyn ToSql + Sync)).collect();
                    Box::pin(async move { self.client.query(statement, &parameters).await })
                }
                (Step::Plain(sql) | Step::Query(sql, _), _) => {
                    Box::pin(
                        async move { self.client.batch_execute(sql).await.map(|()| Vec::new()) },
                    )
                }
            });
        }
        let unsent = |early: tokio_postgres::Error| {
            // Nothing after it was sent, COMMIT least of all.
            let why = format!("a statement could not be sent: {}", text(&early));
            if self.client.is_closed() {
                Fault::Lost(why)
            } else {
                EngineError::Damaged(why).into()
            }
        };
        match timeout(PATIENCE, in_order(answers)).await {
            Ok(Ok(done)) => Ok(done?),
            Ok(Err(early)) => Err(unsent(early)),
            Err(_) => Err(slow()),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

/// A statement of a pipeline.
pub(crate) enum Step<'a> {
    /// One without parameters or rows.
    Plain(&'static str),
    /// One that is prepared.
    Query(&'static str, Vec<Box<dyn ToSql + Sync + Send + 'a>>),
}

type Answer<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<Row>, tokio_postgres::Error>> + Send + 'a>>;

type Answers = Result<Vec<Vec<Row>>, tokio_postgres::Error>;

/// Polls each once, which sends it, then waits for one after the other, as the server answers. The outer error is one
/// that could not be sent; those behind it are not sent either.
async fn in_order(mut answers: Vec<Answer<'_>>) -> Result<Answers, tokio_postgres::Error> {
    let mut early: Vec<_> = answers.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (answer, early) in answers.iter_mut().zip(&mut early) {
            match answer.as_mut().poll(context) {
                Poll::Ready(Err(unsent)) => return Poll::Ready(Err(unsent)),
                Poll::Ready(Ok(rows)) => *early = Some(rows),
                Poll::Pending => {}
            }
        }
        Poll::Ready(Ok(()))
    })
    .await?;
    let (mut all, mut failed) = (Vec::with_capacity(answers.len()), None);
    for (answer, early) in answers.into_iter().zip(early) {
        let done = match early {
            Some(rows) => Ok(rows),
            None => answer.await,
        };
        match done {
            Ok(rows) => all.push(rows),
            // What follows a failure fails by it.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    Ok(failed.map_or(Ok(all), Err))
}

pub(crate) fn slow() -> Fault {
    Fault::Lost("PostgreSQL did not answer within 10 seconds".into())
}

/// Waits for an answer, and gives the connection up when it does not come.
pub(crate) async fn patiently<T>(
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Fault> {
    match timeout(PATIENCE, answer).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(slow()),
    }
}

async fn connect<T>(
    place: &Place,
    tls: T,
    runtime: &Handle,
    heard: Option<Heard>,
) -> Result<Link, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, mut connection) = place.config.connect(tls).await?;
    let warned = Arc::new(AtomicBool::new(false));
    let warn = Arc::clone(&warned);
    runtime.spawn(async move {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                // Seen before the answer that it stands beside is given out.
                Some(Ok(AsyncMessage::Notice(_))) => warn.store(true, Ordering::Release),
                Some(Ok(AsyncMessage::Notification(said))) => {
                    heard.iter().for_each(|heard| heard(said.clone()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    });
    Ok(Link { client, statements: Mutex::default(), warned, met: AtomicU64::new(0) })
}

fn advice_by_words(what: &str) -> &'static str {
    const WORDS: [(&str, &str); 7] = [
        ("password missing", "put the password into the URL, or into PGPASSWORD"),
        (
            "unsupported startup parameter",
            "a pooler stands between that refuses what a session is set to: connect to PostgreSQL itself",
        ),
        ("failed to lookup address", "is the name right, and known here?"),
        ("does not support TLS", "set ssl = on there, or say sslmode=disable in the URL"),
        ("not valid for", "name the server in the URL as its certificate does"),
        (
            "certificate",
            "name the file of the authority that signed the server's certificate with sslrootcert in the URL",
        ),
        (
            "does not allow writes",
            "it cannot be written to: name the primary as well, as in postgres://USER@HOST1,HOST2/DATABASE",
        ),
    ];
    let fits = |(words, _): &&(&str, &'static str)| what.contains(words);
    WORDS
        .iter()
        .find(fits)
        .map_or("is it running there, and reachable from here?", |(_, to_do)| to_do)
}

/// Refuses a server that is too old, by its `server_version_num`.
fn test_version(version: i32) -> Result<(), String> {
    let (is, needed) = (version / 10_000, VERSION_MIN / 10_000);
    if version < VERSION_MIN {
        return Err(format!("its version is {is}, Highwater needs {needed} or later: upgrade it"));
    }
    Ok(())
}

/// What the server or the system said of a connection that did not come about, and what to do.
fn advice(error: &tokio_postgres::Error) -> String {
    let what = text(error);
    let code = error.code().map_or("", tokio_postgres::error::SqlState::code);
    let to_do = match code {
        "28000" if what.contains("client certificate") => {
            "name the node's certificate and key with sslcert and sslkey in the URL"
        }
        "28P01" | "28000" => "check user and password in the URL, and pg_hba.conf on the server",
        "3D000" => "create the database first: CREATE DATABASE … OWNER …",
        "08P01" | "42704" | "0A000" => {
            "a pooler seems to stand between that refuses what a session is set to: connect to PostgreSQL itself"
        }
        "53300" => {
            "raise max_connections on the server, or lower the number of connections of each node"
        }
        "57P03" => "the server is starting or stopping: try again",
        _ => advice_by_words(&what),
    };
    format!("{what}; {to_do}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_told_to_be_upgraded() {
        assert!(test_version(VERSION_MIN).is_ok() && test_version(150_018).is_ok());
        let why = test_version(120_022).unwrap_err();
        assert_eq!(why, "its version is 12, Highwater needs 13 or later: upgrade it");
    }
}
