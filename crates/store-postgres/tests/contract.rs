//! The contract, on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, which fail by panicking")]

use std::sync::Arc;

use store::contract::{Subject, run};
use store::engine::{BodyStore, Engine};
use store_postgres::{Bodies, Postgres};

#[path = "server/postgres.rs"]
mod postgres;

struct OnPostgres {
    engine: Postgres,
    bodies: Arc<dyn Bodies>,
    url: String,
    at: Option<String>,
}

impl OnPostgres {
    fn open(url: String, at: Option<String>) -> Self {
        let engine = postgres::open(&url).unwrap();
        let bodies = engine.bodies_at(at.as_deref()).unwrap();
        Self { engine, bodies, url, at }
    }
}

impl Subject for OnPostgres {
    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    fn bodies(&self) -> &dyn BodyStore {
        &*self.bodies
    }

    fn reopen(self) -> Self {
        let Self { engine, bodies, url, at } = self;
        drop((engine, bodies));
        Self::open(url, at)
    }
}

#[test]
fn postgres_keeps_the_contract() {
    let Some(server) = postgres::Server::start(&[]) else { return };
    run(|| OnPostgres::open(server.database(), None));
}

#[test]
fn postgres_keeps_the_contract_with_bodies_in_a_directory() {
    let Some(server) = postgres::Server::start(&[]) else { return };
    let directory = tempfile::tempdir().unwrap();
    run(|| {
        let url = server.database();
        let place =
            format!("file://{}/{}", directory.path().display(), url.rsplit('/').next().unwrap());
        OnPostgres::open(url, Some(place))
    });
}
