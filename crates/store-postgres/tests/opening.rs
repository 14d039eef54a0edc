//! What cannot be opened, and what is said about it: one clear message each, with what to do.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, which fail by panicking"
)]

use std::net::{Ipv4Addr, TcpListener};

use certificates::Certificates;
use postgres::{LOG, Server, append, seq};
use store::engine::Engine as _;
use store_postgres::{Durability, Options, Postgres};

#[path = "server/certificates.rs"]
mod certificates;
#[path = "server/postgres.rs"]
mod postgres;

/// Why it cannot be opened, as the user reads it.
fn why(url: &str, durability: Durability) -> String {
    let options = Options { durability, ..Options::default() };
    match Postgres::open(url, &options) {
        Ok(_) => format!("{url} was opened"),
        Err(error) => error.to_string(),
    }
}

fn says(url: &str, words: &[&str]) {
    says_with(url, Durability::SingleDatabase, words);
}

fn says_with(url: &str, durability: Durability, words: &[&str]) {
    let why = why(url, durability);
    for word in words {
        assert!(why.contains(word), "{url}: no `{word}` in: {why}");
    }
    assert!(!why.contains("secret"), "{url}: it shows the password: {why}");
    assert!(!why.contains("the database cannot be reached:"), "{url}: two stories in one: {why}");
}

fn name(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

#[test]
fn a_place_where_no_server_is_is_named() {
    says("mysql://u@h/mail", &["URL", "postgres://"]);
    says("postgres://u:secret@/mail", &["URL", "host"]);
    says(
        "postgres://u:secret@no-such-host.invalid/mail?sslmode=disable",
        &["no-such-host.invalid:5432/mail", "lookup", "is the name right"],
    );
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let url = format!("postgres://u:secret@{closed}/mail");
    says(&url, &[&format!("{closed}/mail"), "refused", "is it running there"]);
}

#[test]
fn a_role_or_database_that_does_not_fit_is_explained() {
    let Some(server) = Server::start(&[]) else { return };
    let url = server.database();
    let (database, port) = (name(&url), server.port);
    server.sql("postgres", "CREATE ROLE guest LOGIN PASSWORD 'right'");
    server.sql(
        database,
        "REVOKE CREATE ON DATABASE mail FROM PUBLIC".replace("mail", database).as_str(),
    );
    let guest = format!("postgres://guest:secret@127.0.0.1:{port}/{database}");
    says(&guest, &["permission denied for database", "GRANT CREATE ON DATABASE"]);
    says(
        &format!("postgres://highwater@127.0.0.1:{port}/missing"),
        &["\"missing\" does not exist", "CREATE DATABASE"],
    );
    says(
        &format!("postgres://nobody@127.0.0.1:{port}/{database}"),
        &["role \"nobody\" does not exist", "check user and password"],
    );
    // Made by one role, opened by another.
    postgres::open(&url).unwrap();
    says(&guest, &["permission denied for schema highwater", "rights of the owner"]);
    server.sql("postgres", &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"));
    says(&guest, &["is not currently accepting connections"]);
    server.sql("postgres", &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"));
    // Passwords.
    server.write(
        "pg_hba.conf",
        b"host all highwater 127.0.0.1/32 trust\nhost all guest 127.0.0.1/32 scram-sha-256\n",
    );
    server.sql("postgres", "SELECT pg_reload_conf()");
    let rejected =
        || why(&guest, Durability::SingleDatabase).contains("password authentication failed");
    postgres::until("passwords are asked for", || rejected().then_some(()));
    says(&guest, &["password authentication failed for user \"guest\"", "check user and password"]);
    says(&guest.replace(":secret", ""), &["password missing", "PGPASSWORD"]);
    server.write("pg_hba.conf", b"host all highwater 127.0.0.1/32 trust\n");
    server.sql("postgres", "SELECT pg_reload_conf()");
    postgres::until("it is refused", || {
        why(&guest, Durability::SingleDatabase).contains("no pg_hba.conf entry").then_some(())
    });
    says(&guest, &["no pg_hba.conf entry", "pg_hba.conf on the server"]);
}

#[test]
fn tables_of_others_are_not_touched() {
    let Some(server) = Server::start(&[]) else { return };
    let foreign = &["schema `highwater` that is not Highwater's", "use another database"];
    for sql in [
        "CREATE SCHEMA highwater",
        "CREATE SCHEMA highwater; CREATE TABLE highwater.cluster(water int)",
        "CREATE SCHEMA highwater; CREATE TABLE highwater.cluster(application text, format bigint)",
        "CREATE SCHEMA highwater; CREATE TABLE highwater.cluster(application int, format text);
         INSERT INTO highwater.cluster VALUES(7, 'seven')",
        "CREATE SCHEMA highwater; CREATE TABLE highwater.cluster(application text, format bigint);
         INSERT INTO highwater.cluster VALUES('dam', 1)",
        "CREATE SCHEMA highwater; CREATE TABLE highwater.cluster(application text, format bigint);
         INSERT INTO highwater.cluster VALUES(NULL, NULL)",
    ] {
        let url = server.database();
        server.sql(name(&url), sql);
        says(&url, foreign);
    }
    // Tables of that name elsewhere are nobody's business.
    let url = server.database();
    server.sql(
        name(&url),
        "CREATE TABLE highwater(a int); CREATE TABLE log(a int); CREATE TABLE cluster(a int)",
    );
    postgres::open(&url).unwrap().commit(&append(LOG, 1)).unwrap();
    server.sql(name(&url), "UPDATE highwater.cluster SET format = 3");
    says(&url, &["its format is 3, this program knows 2", "use the newer release"]);
}

#[test]
fn a_server_that_may_lose_mail_is_refused() {
    let Some(mut server) = Server::start(&[]) else { return };
    let url = server.database();
    says_with(&url, Durability::Synchronous, &["synchronous_standby_names", "--single-database"]);
    // What a role or a database is set to gives way to what a node asks for.
    server.sql("postgres", "ALTER ROLE highwater SET synchronous_commit = off");
    server.sql("postgres", &format!("ALTER DATABASE {} SET synchronous_commit = off", name(&url)));
    let engine = postgres::open(&url).unwrap();
    engine.commit(&append(LOG, 1)).unwrap();
    drop(engine);
    for setting in ["fsync=off", "full_page_writes=off"] {
        server.stop();
        server.run(&[setting]);
        says(&url, &["fsync or full_page_writes is off", "--allow-data-loss"]);
        says_with(&url, Durability::Synchronous, &["fsync or full_page_writes is off"]);
    }
    let options = Options { durability: Durability::AllowDataLoss, ..Options::default() };
    assert_eq!(seq(&Postgres::open(&url, &options).unwrap(), LOG), 1);
    server.stop();
    server.run(&["default_transaction_read_only=on"]);
    says(&url, &["cannot be written to", "primary"]);
    server.stop();
    server.run(&["max_connections=4", "superuser_reserved_connections=3", "max_wal_senders=0"]);
    let mut busy = server.session("postgres", "BEGIN");
    server.sql(
        "postgres",
        "ALTER ROLE highwater SET synchronous_commit = on; CREATE ROLE plain LOGIN",
    );
    let sql = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'psql' AND state = 'idle in transaction'";
    postgres::until("it is busy", || (!server.sql("postgres", sql).is_empty()).then_some(()));
    says(&url.replace("highwater@", "plain@"), &["remaining connection slots", "max_connections"]);
    busy.kill().unwrap();
    busy.wait().unwrap();
}

#[test]
fn tls_is_checked_to_the_end() {
    let Some(server) = Server::start(&[]) else { return };
    let url = server.database().replace("127.0.0.1", "localhost");
    let Some(made) = Certificates::make() else { return };
    let with = |parameters: &str| format!("{url}?{parameters}");
    let root = made.path("root.pem");
    says(&with("sslmode=verify-full"), &["does not support TLS", "ssl = on"]);
    for file in ["server.pem", "server.key", "root.pem"] {
        server.write(file, &std::fs::read(made.path(file)).unwrap());
    }
    server.set("ssl_cert_file", "'server.pem'");
    server.set("ssl_key_file", "'server.key'");
    server.set("ssl_ca_file", "'root.pem'");
    server.set("ssl", "on");
    postgres::open(&with(&format!("sslmode=verify-full&sslrootcert={root}"))).unwrap();
    // Without sslmode the loopback address needs no TLS; with one it is checked all the same.
    postgres::open(&url).unwrap();
    says(&with("sslmode=verify-full"), &["certificate", "sslrootcert"]);
    let other = made.path("other-root.pem");
    says(
        &with(&format!("sslmode=verify-full&sslrootcert={other}")),
        &["certificate", "sslrootcert"],
    );
    let by_address = url.replace("localhost", "127.0.0.1");
    says(
        &format!("{by_address}?sslmode=verify-full&sslrootcert={root}"),
        &["not valid for", "127.0.0.1"],
    );
    says(&with("sslmode=require"), &["sslmode=require would trust whoever answers", "verify-full"]);
    says(
        &with("sslmode=verify-full&sslrootcert=%2Fno%2Fsuch.pem"),
        &["/no/such.pem cannot be used"],
    );
    let key = made.path("client.key");
    says(&with(&format!("sslmode=verify-full&sslrootcert={key}")), &["holds no certificate"]);
    // A client certificate instead of a password.
    server.write("pg_hba.conf", b"local all all trust\nhostssl all highwater 127.0.0.1/32 cert\n");
    server.sql("postgres", "SELECT pg_reload_conf()");
    let (certificate, verified) =
        (made.path("client.pem"), format!("sslmode=verify-full&sslrootcert={root}"));
    let without = with(&verified);
    postgres::until("it is asked for", || {
        why(&without, Durability::SingleDatabase).contains("certificate").then_some(())
    });
    says(&without, &["requires a valid client certificate", "sslcert"]);
    postgres::open(&with(&format!("{verified}&sslcert={certificate}&sslkey={key}"))).unwrap();
    says(
        &with(&format!("{verified}&sslcert={certificate}")),
        &["sslcert and sslkey belong together"],
    );
    let wrong = made.path("server.key");
    says(
        &with(&format!("{verified}&sslcert={certificate}&sslkey={wrong}")),
        &["client.pem", "cannot be used"],
    );
    says(&with("sslmode=disable"), &["no pg_hba.conf entry"]);
}

#[test]
fn a_pooler_is_refused() {
    let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists());
    let (Some(server), Some(program)) = (Server::start(&[]), program) else { return };
    let url = server.database();
    for ignored in ["", "ignore_startup_parameters = options,extra_float_digits"] {
        let pooler = server.pooler(program, ignored);
        let through = url.replace(&format!(":{}/", server.port), &format!(":{}/", pooler.port));
        says(&through, &["a pooler", "connect to PostgreSQL itself"]);
    }
}
