//! The contract, on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, which fail by panicking")]

use store::contract::{Subject, run};
use store::engine::{BodyStore, Engine};
use store_postgres::{Blobs, Postgres};

#[path = "server/postgres.rs"]
mod postgres;

struct OnPostgres {
    engine: Postgres,
    bodies: Blobs,
    url: String,
}

impl OnPostgres {
    fn open(url: String) -> Self {
        let engine = postgres::open(&url).unwrap();
        let bodies = engine.bodies();
        Self { engine, bodies, url }
    }
}

impl Subject for OnPostgres {
    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    fn bodies(&self) -> &dyn BodyStore {
        &self.bodies
    }

    fn reopen(self) -> Self {
        let Self { engine, bodies, url } = self;
        drop((engine, bodies));
        Self::open(url)
    }
}

#[test]
fn postgres_keeps_the_contract() {
    let Some(server) = postgres::Server::start(&[]) else { return };
    run(|| OnPostgres::open(server.database()));
}
