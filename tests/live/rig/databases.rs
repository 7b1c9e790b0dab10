//! PostgreSQL and MariaDB of Debian's packages, each alone on loopback, with TLS and a login of its own. Started by the tests of the
//! sources that read them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;

use super::certs::{Authority, write};
use super::debian::libraries;
use super::process::{Process, Program};
use super::{folder, ports, tool};

const START: Duration = Duration::from_mins(1);
/// PostgreSQL refuses to run as root; as root it is run as this user and group, which are nobody's.
const NOBODY: u32 = 65_534;

/// A PostgreSQL. `postgres` may do anything on loopback; everybody else logs in with a password, `sealed` over TLS only and `badge` with a
/// certificate of that name.
pub(crate) struct Postgres {
    pub(crate) port: u16,
    process: Process,
    pub(crate) authority: Authority,
}

impl Postgres {
    /// Makes a cluster, starts it, and waits until it answers.
    pub(crate) async fn start() -> Result<Self> {
        let folder = folder::fresh("postgres")?;
        let port = ports::free()?;
        own(&folder)?;
        let data = folder.join("data");
        let at = data.display().to_string();
        let init = unprivileged("initdb")?.args(["-D", &at, "-U", "postgres", "-A", "trust"]);
        let init = init.args(["-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]);
        init.run().await?;
        let authority = Authority::new("databases")?;
        let secret = certificates(&folder, &authority)?;
        let rules = "local all all trust\n\
             host all postgres 127.0.0.1/32 trust\n\
             hostssl all badge 127.0.0.1/32 cert\n\
             hostssl all sealed 127.0.0.1/32 scram-sha-256\n\
             host all sealed 127.0.0.1/32 reject\n\
             host all all 127.0.0.1/32 scram-sha-256\n";
        write(&data, "pg_hba.conf", rules)?;
        let mut settings = vec![
            "listen_addresses=127.0.0.1,127.0.0.2".to_owned(),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
            "max_connections=20".to_owned(),
            "ssl=on".to_owned(),
        ];
        for (name, path) in [("cert", &secret.cert), ("key", &secret.key), ("ca", &secret.ca)] {
            settings.push(format!("ssl_{name}_file={}", path.display()));
        }
        let program = unprivileged("postgres")?.args(["-D", &at, "-p", &port.to_string()]);
        let program = program.args(settings.iter().flat_map(|it| ["-c", it]));
        let process = Process::start("postgres", program, &folder)?;
        let postgres = Self { port, process, authority };
        postgres.ready().await?;
        Ok(postgres)
    }

    /// Waits until it answers.
    pub(crate) async fn ready(&self) -> Result<()> {
        self.process.ready(START, async || self.tell("SELECT 1").await).await
    }

    /// Runs statements as its owner.
    pub(crate) async fn tell(&self, statements: &str) -> Result<()> {
        let config = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port);
        let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await?;
        let mut carrier = tokio::task::JoinSet::new();
        carrier.spawn(connection);
        client.batch_execute(statements).await.with_context(|| statements.to_owned())
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }
}

/// A MariaDB. `root` may do anything on loopback without a password.
pub(crate) struct Mariadb {
    pub(crate) port: u16,
    process: Process,
    pub(crate) authority: Authority,
}

impl Mariadb {
    /// Makes its tables, starts it, and waits until it answers.
    pub(crate) async fn start() -> Result<Self> {
        let folder = folder::fresh("mariadb")?;
        let port = ports::free()?;
        let data = folder.join("data");
        fs::create_dir_all(&data).context("make the folder of its data")?;
        let authority = Authority::new("databases")?;
        let secret = certificates(&folder, &authority)?;
        let shared = tool("debian/usr/share/mysql")?;
        let server = || -> Result<Program> {
            let program = Program::new(tool("debian/usr/sbin/mariadbd")?);
            let program = program.env("LD_LIBRARY_PATH", libraries()?).in_folder(&folder);
            Ok(program.args([
                "--no-defaults".to_owned(),
                "--user=root".to_owned(),
                format!("--basedir={}", tool("debian/usr")?.display()),
                format!("--datadir={}", data.display()),
                format!("--lc-messages-dir={}", shared.display()),
                format!("--character-sets-dir={}/charsets", shared.display()),
                "--innodb-flush-log-at-trx-commit=0".to_owned(),
                "--innodb-buffer-pool-size=16M".to_owned(),
                "--innodb-log-file-size=4M".to_owned(),
            ]))
        };
        make_tables(&folder, &shared, server()?).await?;
        let program = server()?.args([
            "--bind-address=127.0.0.1,127.0.0.2".to_owned(),
            format!("--port={port}"),
            format!("--socket={}", folder.join("s").display()),
            format!("--pid-file={}", folder.join("pid").display()),
            "--skip-name-resolve".to_owned(),
            format!("--ssl-cert={}", secret.cert.display()),
            format!("--ssl-key={}", secret.key.display()),
            format!("--ssl-ca={}", secret.ca.display()),
        ]);
        let process = Process::start("mariadb", program, &folder)?;
        let mariadb = Self { port, process, authority };
        mariadb.ready().await?;
        Ok(mariadb)
    }

    /// Waits until it answers.
    pub(crate) async fn ready(&self) -> Result<()> {
        self.process.ready(START, async || self.tell("SELECT 1").await).await
    }

    /// Runs a statement as its owner.
    pub(crate) async fn tell(&self, statement: &str) -> Result<()> {
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some("root"))
            .prefer_socket(false);
        let mut connection = mysql_async::Conn::new(options).await?;
        for one in statement.split("; ") {
            connection.query_drop(one).await.with_context(|| one.to_owned())?;
        }
        connection.disconnect().await?;
        Ok(())
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }
}

/// Runs MariaDB's own scripts, which make the tables it needs, and let root in without a password.
async fn make_tables(folder: &Path, shared: &Path, server: Program) -> Result<()> {
    // One statement ends with its line.
    let mut script = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n".to_owned();
    for part in ["system_tables", "performance_tables", "system_tables_data"] {
        let file = shared.join(format!("mysql_{part}.sql"));
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        script.push_str(&text);
    }
    let file = write(folder, "tables.sql", &script)?;
    server.args(["--bootstrap", "--skip-networking"]).run_on(&file).await?;
    Ok(())
}

/// Where a server's certificate lies.
struct Secret {
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

fn certificates(folder: &Path, authority: &Authority) -> Result<Secret> {
    let (cert, key) = authority.server("localhost")?.write(folder, "server")?;
    let ca = write(folder, "ca.crt", &authority.certificate())?;
    // PostgreSQL wants its key to be its own.
    fs::set_permissions(&key, Permissions::from_mode(0o600)).context("close the key")?;
    own(&key)?;
    Ok(Secret { cert, key, ca })
}

/// A program of PostgreSQL's that does not run as root.
fn unprivileged(name: &str) -> Result<Program> {
    let path = tool(&format!("debian/usr/lib/postgresql/15/bin/{name}"))?;
    let program = if nix::unistd::geteuid().is_root() {
        let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
        let program = Program::new("setpriv").args([&*user, &*group, "--clear-groups"]);
        // A change of user forgets whom to die with.
        program.args(["--pdeathsig", "KILL", "--"]).arg(path.display().to_string())
    } else {
        Program::new(path)
    };
    Ok(program.env("LD_LIBRARY_PATH", libraries()?))
}

fn own(path: &Path) -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
