//! PostgreSQL and MariaDB as sources, asked of real servers: numbers and times of every type, logins and TLS, what is refused, what takes too
//! long, and that nothing is written.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use penstock::decide::Observation;
use penstock::observe::sql::{self, Engine};
use penstock::observe::{Address, Ask, Credentials, Unit};

use crate::beside::{SOON, Watched, id, keys};
use crate::rig::{Authority, Mariadb, Postgres, until};

fn place(engine: Engine, host: &str, port: u16, tls: bool) -> Address {
    let database = match engine {
        Engine::Postgres => "postgres",
        Engine::Mysql => "shop",
    };
    Address::Sql(sql::Address {
        connection: "shop/db".to_owned(),
        engine,
        host: host.to_owned(),
        port,
        database: database.to_owned(),
        tls,
    })
}

fn query(query: &str) -> Ask {
    Ask::Sql(sql::Ask { query: query.to_owned(), unit: Unit::Gauge })
}

fn login(password: &str) -> Arc<Credentials> {
    keys(&[("username", "penstock"), ("password", password)])
}

impl Watched {
    /// Waits until this is a number between the two.
    async fn lies(&self, name: &str, least: f64, most: f64) -> Result<()> {
        until(&format!("{name} to lie between {least} and {most}"), SOON, async || {
            let seen = self.observe.latest(&id(name)).context("nobody has answered yet")?;
            let Observation::Fresh(reading) = &seen else { anyhow::bail!("{seen:?}") };
            let penstock::decide::Value::Gauge(number) = reading.value else {
                anyhow::bail!("{seen:?}")
            };
            ensure!((least..=most).contains(&number), "{number}");
            Ok(Some(()))
        })
        .await
    }

    /// Waits for one of these words in the place of a first answer.
    async fn fails(&self, name: &str, words: &[&str]) -> Result<()> {
        until(&format!("{name} to be one of {words:?}"), SOON, async || {
            let seen = self.observe.latest(&id(name)).context("nobody has answered yet")?;
            let Observation::Failed(missing) = &seen else { anyhow::bail!("{seen:?}") };
            ensure!(words.contains(&&*missing.label), "{}: {}", missing.label, missing.message);
            ensure!(!missing.message.contains("s3cret"), "{}", missing.message);
            Ok(Some(()))
        })
        .await
    }
}

async fn postgres() -> Result<Postgres> {
    let server = Postgres::start().await?;
    server
        .tell(
            "CREATE TABLE todo (id int, since timestamptz, state text);
             INSERT INTO todo SELECT n, now() - interval '90 s', 'waiting' FROM generate_series(1, 7) n;
             CREATE TABLE secret (id int);
             CREATE ROLE penstock LOGIN PASSWORD 's3cret';
             CREATE ROLE sealed LOGIN PASSWORD 's3cret';
             CREATE ROLE badge LOGIN;
             GRANT SELECT ON todo TO penstock, sealed, badge;
             GRANT INSERT ON todo TO penstock",
        )
        .await?;
    Ok(server)
}

#[tokio::test]
async fn postgres_is_read_in_every_type_and_never_written_to() -> Result<()> {
    let server = postgres().await?;
    let there = || place(Engine::Postgres, "127.0.0.1", server.port, false);
    let ask = |name: &'static str, text: &str| (name, there(), query(text), login("s3cret"));
    let watched = Watched::asking(vec![
        ask("count", "SELECT count(*) FROM todo WHERE state = 'waiting';"),
        ask("numeric", "SELECT sum(id) / 8.0 FROM todo"),
        ask("float", "SELECT 2.5::float8"),
        ask("small", "SELECT 3::int2"),
        ask("text", "SELECT ' 12.5 '"),
        ask("age", "SELECT min(since) FROM todo"),
        ask("plain", "SELECT (now() AT TIME ZONE 'UTC') - interval '1 hour'"),
        ask("interval", "SELECT max(now() - since) FROM todo"),
        ask("with", "WITH x AS (SELECT id FROM todo) SELECT count(*), 'more' FROM x"),
        ask("none", "SELECT id FROM todo WHERE id = 99"),
        ask("null", "SELECT max(id) FROM todo WHERE id = 99"),
        ask("many", "SELECT id FROM todo"),
        ask("crowd", "SELECT generate_series(1, 5000000)"),
        ask("bool", "SELECT true"),
        ask("nan", "SELECT 'NaN'::numeric"),
        ask("never", "SELECT 'infinity'::timestamptz"),
        ask("minus", "SELECT -1"),
        ask("typo", "SELECT count(*) FROM tood"),
        ask("hidden", "SELECT count(*) FROM secret"),
        ask(
            "writes",
            "WITH x AS (INSERT INTO todo VALUES (8) RETURNING id) SELECT count(*) FROM x",
        ),
        ask("two", "SELECT 1; INSERT INTO todo VALUES (9)"),
        ask("slow", "SELECT count(*) FROM todo, pg_sleep(30)"),
        ask("zero", "SELECT 1 / (count(*) - 7) FROM todo"),
        ask("open", "SELECT count(*) FROM todo WHERE id = $1"),
    ]);
    for (name, number) in [
        ("count", 7.0),
        ("numeric", 3.5),
        ("float", 2.5),
        ("small", 3.0),
        ("text", 12.5),
        ("with", 7.0),
    ] {
        watched.is(name, number).await?;
    }
    watched.lies("age", 90.0, 200.0).await?;
    watched.lies("interval", 90.0, 200.0).await?;
    watched.lies("plain", 3600.0, 3700.0).await?;
    for (name, word) in [
        ("none", "EmptyAnswer"),
        ("null", "EmptyAnswer"),
        ("many", "ManyValues"),
        ("crowd", "ManyValues"),
        ("bool", "BadValue"),
        ("nan", "BadValue"),
        ("never", "BadValue"),
        ("minus", "BadValue"),
        ("typo", "QueryRefused"),
        ("hidden", "AccessDenied"),
        ("writes", "QueryRefused"),
        ("two", "QueryRefused"),
        ("slow", "Timeout"),
        ("zero", "SourceFailed"),
        ("open", "QueryRefused"),
    ] {
        watched.fails(name, &[word]).await.context(name)?;
    }
    watched.is("count", 7.0).await?;
    // The server goes and comes back.
    server.process().kill9();
    watched.lacks("count", "Unreachable").await?;
    server.process().start_again()?;
    server.ready().await?;
    watched.is("count", 7.0).await?;
    watched.observe.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn postgres_lets_in_by_password_over_tls_and_by_certificate() -> Result<()> {
    let server = postgres().await?;
    let ca = server.authority.certificate();
    let stranger = Authority::new("stranger")?.certificate();
    let badge = server.authority.client("badge", None)?;
    let other = server.authority.client("other", None)?;
    let at = |host: &str, tls| place(Engine::Postgres, host, server.port, tls);
    let named = |name: &str, more: &[(&'static str, &str)]| {
        keys(&[&[("username", name)][..], more].concat())
    };
    let password = ("password", "s3cret\n");
    let count = || query("SELECT count(*) FROM todo");
    for (what, place, credentials) in [
        ("plain", at("127.0.0.1", false), named("penstock", &[password])),
        ("sealed", at("localhost", true), named("sealed", &[password, ("ca", &ca)])),
        ("by address", at("127.0.0.1", true), named("sealed", &[password, ("ca", &ca)])),
        (
            "badge",
            at("localhost", true),
            named("badge", &[("ca", &ca), ("cert", &badge.certificate), ("key", &badge.key)]),
        ),
    ] {
        let watched = Watched::asking(vec![("count", place, count(), credentials)]);
        watched.is("count", 7.0).await.context(what)?;
        watched.observe.shutdown().await;
    }
    for (what, place, credentials, word) in [
        (
            "guess",
            at("127.0.0.1", false),
            named("penstock", &[("password", "guess")]),
            "AuthenticationFailed",
        ),
        ("nobody", at("127.0.0.1", false), named("nobody", &[password]), "AuthenticationFailed"),
        ("no word", at("127.0.0.1", false), named("penstock", &[]), "AuthenticationFailed"),
        ("open", at("127.0.0.1", false), named("sealed", &[password]), "AuthenticationFailed"),
        (
            "wrong badge",
            at("localhost", true),
            named("badge", &[("ca", &ca), ("cert", &other.certificate), ("key", &other.key)]),
            "AuthenticationFailed",
        ),
        (
            "stranger",
            at("localhost", true),
            named("sealed", &[password, ("ca", &stranger)]),
            "TlsFailed",
        ),
        // The server listens there, too, but its certificate is for localhost and 127.0.0.1.
        ("name", at("127.0.0.2", true), named("sealed", &[password, ("ca", &ca)]), "TlsFailed"),
        (
            "no PEM",
            at("localhost", true),
            named("sealed", &[password, ("ca", "x")]),
            "CredentialsInvalid",
        ),
        ("no name", at("127.0.0.1", false), keys(&[password]), "CredentialsInvalid"),
    ] {
        let watched = Watched::asking(vec![("count", place, count(), credentials)]);
        watched.fails("count", &[word]).await.context(what)?;
        watched.observe.shutdown().await;
    }
    // A database that is not there.
    let Address::Sql(mut nowhere) = at("127.0.0.1", false) else { anyhow::bail!("no database") };
    nowhere.database = "nowhere".to_owned();
    let asks = vec![("count", Address::Sql(nowhere), count(), login("s3cret"))];
    let watched = Watched::asking(asks);
    watched.fails("count", &["NotFound"]).await?;
    watched.observe.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_rotated_password_of_postgres_takes_over_when_it_is_good_and_a_busy_table_is_no_harm()
-> Result<()> {
    let server = postgres().await?;
    let asked = |password: &str| {
        let there = place(Engine::Postgres, "127.0.0.1", server.port, false);
        vec![("count", there, query("SELECT count(*) FROM todo"), login(password))]
    };
    let watched = Watched::asking(asked("s3cret"));
    watched.is("count", 7.0).await?;
    watched.ask(asked("n3w"));
    until("the new password to be refused", SOON, async || {
        let refusal = watched.observe.refusal(&id("count")).context("nothing is refused")?;
        ensure!(&*refusal.label == "AuthenticationFailed", "{refusal:?}");
        ensure!(watched.observe.latest(&id("count")).is_some_and(|seen| seen.is_fresh()));
        Ok(Some(()))
    })
    .await?;
    server.tell("ALTER ROLE penstock PASSWORD 'n3w'; INSERT INTO todo VALUES (8)").await?;
    watched.is("count", 8.0).await?;
    until("the new password to be in use", SOON, async || {
        ensure!(watched.observe.refusal(&id("count")).is_none());
        Ok(Some(()))
    })
    .await?;
    // Somebody locks the table for a while: a query waits no longer than its limit, and the next one counts.
    server.tell("BEGIN; LOCK TABLE todo; SELECT pg_sleep(4); COMMIT").await?;
    watched.is("count", 8.0).await?;
    watched.observe.shutdown().await;
    Ok(())
}

async fn mariadb() -> Result<Mariadb> {
    let server = Mariadb::start().await?;
    server
        .tell(
            "CREATE DATABASE shop; \
             CREATE TABLE shop.todo (id int, since timestamp NULL, state varchar(20)); \
             INSERT INTO shop.todo SELECT seq, now() - INTERVAL 90 SECOND, 'waiting' FROM mysql.seq_1_to_7; \
             CREATE TABLE shop.secret (id int); \
             CREATE USER penstock IDENTIFIED BY 's3cret'; \
             CREATE USER sealed IDENTIFIED BY 's3cret' REQUIRE SSL; \
             CREATE USER badge REQUIRE SUBJECT '/CN=badge'; \
             GRANT SELECT, INSERT ON shop.todo TO penstock; \
             GRANT SELECT ON shop.todo TO sealed; \
             GRANT SELECT ON shop.todo TO badge",
        )
        .await?;
    Ok(server)
}

#[tokio::test]
async fn mariadb_is_read_in_every_type_and_never_written_to() -> Result<()> {
    let server = mariadb().await?;
    let there = || place(Engine::Mysql, "127.0.0.1", server.port, false);
    let ask = |name: &'static str, text: &str| (name, there(), query(text), login("s3cret"));
    let watched = Watched::asking(vec![
        ask("count", "SELECT count(*) FROM todo WHERE state = 'waiting'"),
        ask("decimal", "SELECT sum(id) / 8 FROM todo"),
        ask("float", "SELECT cast(2.5 AS double)"),
        ask("text", "SELECT ' 12.5 '"),
        ask("age", "SELECT min(since) FROM todo"),
        ask("datetime", "SELECT now() - INTERVAL 1 HOUR"),
        ask("span", "SELECT timediff(now(), min(since)) FROM todo"),
        ask("none", "SELECT id FROM todo WHERE id = 99"),
        ask("null", "SELECT max(id) FROM todo WHERE id = 99"),
        ask("many", "SELECT id FROM todo"),
        ask("crowd", "SELECT a.id FROM todo a, todo b, todo c, todo d, todo e, todo f, todo g"),
        ask("blob", "SELECT unhex('FF')"),
        ask("minus", "SELECT -1"),
        ask("typo", "SELECT count(*) FROM tood"),
        ask("grammar", "SELECT FROM"),
        ask("hidden", "SELECT count(*) FROM secret"),
        ask("writes", "INSERT INTO todo VALUES (8, now(), 'x') RETURNING id"),
        ask("two", "SELECT 1; INSERT INTO todo VALUES (9, now(), 'x')"),
        ask("slow", "SELECT sleep(30) FROM todo"),
        ask("open", "SELECT count(*) FROM todo WHERE id = ?"),
    ]);
    for (name, number) in [("count", 7.0), ("decimal", 3.5), ("float", 2.5), ("text", 12.5)] {
        watched.is(name, number).await?;
    }
    watched.lies("age", 90.0, 200.0).await?;
    watched.lies("span", 90.0, 200.0).await?;
    watched.lies("datetime", 3600.0, 3700.0).await?;
    for (name, word) in [
        ("none", "EmptyAnswer"),
        ("null", "EmptyAnswer"),
        ("many", "ManyValues"),
        ("crowd", "ManyValues"),
        ("blob", "BadValue"),
        ("minus", "BadValue"),
        ("typo", "QueryRefused"),
        ("grammar", "QueryRefused"),
        ("hidden", "AccessDenied"),
        ("writes", "QueryRefused"),
        ("two", "QueryRefused"),
        ("slow", "Timeout"),
        ("open", "QueryRefused"),
    ] {
        // A table that we may not read is told as one that is refused.
        let words: &[&str] = if name == "typo" { &[word, "AccessDenied"] } else { &[word] };
        watched.fails(name, words).await.context(name)?;
    }
    watched.is("count", 7.0).await?;
    server.process().kill9();
    watched.lacks("count", "Unreachable").await?;
    server.process().start_again()?;
    server.ready().await?;
    watched.is("count", 7.0).await?;
    watched.observe.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn mariadb_lets_in_by_password_over_tls_and_by_certificate() -> Result<()> {
    let server = mariadb().await?;
    let ca = server.authority.certificate();
    let stranger = Authority::new("stranger")?.certificate();
    let badge = server.authority.client("badge", None)?;
    let at = |host: &str, tls| place(Engine::Mysql, host, server.port, tls);
    let named = |name: &str, more: &[(&'static str, &str)]| {
        keys(&[&[("username", name)][..], more].concat())
    };
    let password = ("password", "s3cret");
    let count = || query("SELECT count(*) FROM todo");
    let pair = [("ca", &*ca), ("cert", &*badge.certificate), ("key", &*badge.key)];
    for (what, place, credentials) in [
        ("plain", at("127.0.0.1", false), named("penstock", &[password])),
        ("sealed", at("localhost", true), named("sealed", &[password, ("ca", &ca)])),
        ("badge", at("127.0.0.1", true), named("badge", &pair)),
    ] {
        let watched = Watched::asking(vec![("count", place, count(), credentials)]);
        watched.is("count", 7.0).await.context(what)?;
        watched.observe.shutdown().await;
    }
    for (what, place, credentials, word) in [
        (
            "guess",
            at("127.0.0.1", false),
            named("penstock", &[("password", "guess")]),
            "AuthenticationFailed",
        ),
        ("open", at("127.0.0.1", false), named("sealed", &[password]), "AuthenticationFailed"),
        ("no badge", at("127.0.0.1", true), named("badge", &[("ca", &ca)]), "AuthenticationFailed"),
        (
            "stranger",
            at("localhost", true),
            named("sealed", &[password, ("ca", &stranger)]),
            "TlsFailed",
        ),
        ("name", at("127.0.0.2", true), named("sealed", &[password, ("ca", &ca)]), "TlsFailed"),
        (
            "no PEM",
            at("localhost", true),
            named("sealed", &[password, ("ca", "x")]),
            "CredentialsInvalid",
        ),
    ] {
        let watched = Watched::asking(vec![("count", place, count(), credentials)]);
        watched.fails("count", &[word]).await.context(what)?;
        watched.observe.shutdown().await;
    }
    let Address::Sql(mut nowhere) = at("127.0.0.1", false) else { anyhow::bail!("no database") };
    nowhere.database = "nowhere".to_owned();
    let watched = Watched::asking(vec![("count", Address::Sql(nowhere), count(), login("s3cret"))]);
    watched.fails("count", &["NotFound", "AccessDenied"]).await?;
    watched.observe.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_hundred_questions_to_one_database_take_one_poll_and_four_connections() -> Result<()> {
    let server = postgres().await?;
    let there = || place(Engine::Postgres, "127.0.0.1", server.port, false);
    let names: Vec<String> = (0..100).map(|number| format!("q{number}")).collect();
    let asks = names.iter().map(|name| {
        let text = format!("SELECT count(*), '{name}' FROM todo");
        (name.as_str(), there(), query(&text), login("s3cret"))
    });
    let begun = tokio::time::Instant::now();
    let mut asks: Vec<_> = asks.collect();
    let others = "SELECT count(*) - 1 FROM pg_stat_activity WHERE application_name = 'penstock'";
    asks.push(("others", there(), query(others), login("s3cret")));
    let mut watched = Watched::asking(asks);
    ensure!(watched.visited().await?.len() == 101);
    let took = begun.elapsed();
    for name in &names {
        ensure!(watched.observe.latest(&id(name)).is_some_and(|seen| seen.is_fresh()), "{name}");
    }
    ensure!(took < Duration::from_secs(10), "{took:?}");
    watched.lies("others", 0.0, 3.0).await?;
    watched.observe.shutdown().await;
    Ok(())
}
