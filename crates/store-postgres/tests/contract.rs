//! The contract, on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, which fail by panicking")]

use store::contract::{Subject, run};
use store::engine::{BodyStore, Engine};
use store::memory::MemoryBodies;
use store_postgres::Postgres;

#[path = "server/postgres.rs"]
mod postgres;

struct OnPostgres {
    engine: Postgres,
    bodies: MemoryBodies,
    url: String,
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
        drop(engine);
        Self { engine: postgres::open(&url).unwrap(), bodies, url }
    }
}

#[test]
fn postgres_keeps_the_contract() {
    let Some(server) = postgres::Server::start(&[]) else { return };
    run(|| {
        let url = server.database();
        OnPostgres { engine: postgres::open(&url).unwrap(), bodies: MemoryBodies::new(), url }
    });
}
