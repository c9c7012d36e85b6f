//! A table of a PostgreSQL database.

use std::{fmt, net::IpAddr, time::Duration};

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_postgres::{
    Client, Config, NoTls,
    config::{Host, SslMode},
    types::ToSql,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::backend::{Backend, Expect, Tag};
use crate::{
    cloud,
    config::PostgresSettings,
    error::{Context, Error, Result},
};

/// The table. Versions come from a sequence, so that a text that was removed and written again has another one.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS infra_state (
        key text PRIMARY KEY,
        value text NOT NULL,
        version bigserial NOT NULL,
        written timestamptz NOT NULL DEFAULT now()
    )";

/// A table of a database.
pub struct PostgresBackend {
    config: Config,
    /// Certificates in PEM that are trusted beside the usual ones.
    authorities: Vec<String>,
    client: Mutex<Option<Client>>,
}

impl fmt::Debug for PostgresBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

impl PostgresBackend {
    /// The store of an address like `postgres://user:password@host:5432/database`; nothing is sent yet.
    ///
    /// # Errors
    /// When the address cannot be understood.
    pub fn open(settings: &PostgresSettings) -> Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the documented ways to hand over what does not belong into a file"
        )]
        let (address, password) = (std::env::var("INFRA_STATE_URL").ok(), std::env::var("PGPASSWORD").ok());
        let url = address.as_deref().unwrap_or(&settings.url);
        let authorities = settings
            .ca_file
            .as_deref()
            .map(|path| std::fs::read_to_string(path).context(|| format!("cannot read `{}`", path.display())));
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            // The address may hold a password, so it is not repeated.
            Error::usage(format!("the address of the state's database cannot be understood: {error}"))
                .hint("write `postgres://user:password@host:5432/database?sslmode=require`")
        })?;
        if !url.contains("sslmode=") && !is_local(&config) {
            // The library would go on without encryption when the server, or someone in between, says that it has none.
            config.ssl_mode(SslMode::Require);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        if let Some(password) = password.filter(|_| config.get_password().is_none()) {
            config.password(password);
        }
        config.application_name("infra");
        let authorities = authorities.transpose()?.into_iter().collect();
        Ok(Self { config, authorities, client: Mutex::new(None) })
    }

    async fn connect(&self) -> Result<Client> {
        let cannot = || format!("the state in {} cannot be reached", self.place());
        let client = if self.config.get_ssl_mode() == SslMode::Disable {
            let (client, connection) = self.config.connect(NoTls).await.context(cannot)?;
            tokio::spawn(connection);
            client
        } else {
            let tls = MakeRustlsConnect::new(cloud::tls(&self.authorities));
            let (client, connection) = self.config.connect(tls).await.map_err(explain).context(cannot)?;
            tokio::spawn(connection);
            client
        };
        // Two first commands at once: the second one finds the table, or is answered that it was just made.
        if let Err(error) = client.batch_execute(SCHEMA).await {
            client.batch_execute("SELECT 1 FROM infra_state LIMIT 1").await.map_err(|_| error).context(cannot)?;
        }
        Ok(client)
    }

    /// Runs a statement, on a new connection when the one before it was lost.
    async fn query(&self, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<tokio_postgres::Row>> {
        let mut held = self.client.lock().await;
        let client = match held.take() {
            Some(client) if !client.is_closed() => client,
            _ => self.connect().await?,
        };
        let rows = client.query(statement, parameters).await;
        *held = Some(client);
        rows.context(|| format!("the state in {} cannot be used", self.place()))
    }
}

/// Whether all hosts of an address are this machine, so that no one can be in between.
fn is_local(config: &Config) -> bool {
    let named = config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
    });
    // An address beside the name is what is connected to.
    named && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

fn explain(error: tokio_postgres::Error) -> Error {
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    let error = Error::from(error);
    if source.contains("server does not support TLS") {
        return error
            .hint("switch TLS on in the server")
            .hint("in a network that you trust with the state, write `?sslmode=disable` at the end of the address");
    }
    if error.to_string().contains("invalid peer certificate") {
        return error.hint("name the authority of its certificate: `state: {postgres: {ca_file: ...}}`");
    }
    error
}

#[async_trait]
impl Backend for PostgresBackend {
    fn place(&self) -> String {
        let host = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let host = host.collect::<Vec<_>>().join(",");
        format!("postgres://{host}/{}", self.config.get_dbname().unwrap_or_default())
    }

    async fn get(&self, key: &str) -> Result<Option<(String, Tag)>> {
        let rows = self.query("SELECT value, version FROM infra_state WHERE key = $1", &[&key]).await?;
        Ok(rows.first().map(|row| (row.get::<_, String>(0), Tag(row.get::<_, i64>(1).to_string()))))
    }

    async fn put(&self, key: &str, text: &str, expect: &Expect) -> Result<Option<Tag>> {
        let rows = match expect {
            Expect::Absent => {
                let insert = "INSERT INTO infra_state (key, value) VALUES ($1, $2) \
                              ON CONFLICT (key) DO NOTHING RETURNING version";
                self.query(insert, &[&key, &text]).await?
            }
            Expect::Tag(tag) => {
                let update = "UPDATE infra_state SET value = $2, written = now(), \
                              version = nextval(pg_get_serial_sequence('infra_state', 'version')) \
                              WHERE key = $1 AND version::text = $3 RETURNING version";
                self.query(update, &[&key, &text, &tag.0]).await?
            }
        };
        Ok(rows.first().map(|row| Tag(row.get::<_, i64>(0).to_string())))
    }

    async fn delete(&self, key: &str, tag: &Tag) -> Result<bool> {
        let delete = "DELETE FROM infra_state WHERE key = $1 AND version::text = $2 RETURNING key";
        Ok(!self.query(delete, &[&key, &tag.0]).await?.is_empty())
    }

    async fn list(&self, name: &str) -> Result<Vec<String>> {
        let end = format!("/{name}");
        let select = "SELECT key FROM infra_state WHERE right(key, length($1)) = $1 ORDER BY key";
        let rows = self.query(select, &[&end]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn probe(&self) -> Result<()> {
        Ok(())
    }

    fn poll(&self) -> Duration {
        Duration::from_millis(100)
    }
}

#[cfg(test)]
mod tests {
    use super::{PostgresBackend, PostgresSettings, SslMode};
    use crate::state::Backend;

    fn open(url: &str) -> PostgresBackend {
        PostgresBackend::open(&PostgresSettings { url: url.to_owned(), ca_file: None }).unwrap()
    }

    #[test]
    fn tls_is_required_but_for_this_machine_unless_the_address_says_otherwise() {
        for (url, mode) in [
            ("postgres://infra@db.example.org/infra", SslMode::Require),
            ("postgres://infra@db.example.org/infra?application_name=x", SslMode::Require),
            ("postgres://infra@10.0.0.5/infra", SslMode::Require),
            ("postgres://infra@localhost,db.example.org/infra", SslMode::Require),
            ("postgres://infra@localhost/infra?hostaddr=10.0.0.5", SslMode::Require),
            ("postgres://infra@db.example.org/infra?sslmode=disable", SslMode::Disable),
            ("postgres://infra@db.example.org/infra?sslmode=prefer", SslMode::Prefer),
            ("postgres://infra@localhost/infra", SslMode::Prefer),
            ("postgres://infra@127.0.0.1:5433/infra", SslMode::Prefer),
            ("postgres://infra@%2Fvar%2Frun%2Fpostgresql/infra", SslMode::Prefer),
        ] {
            assert_eq!(open(url).config.get_ssl_mode(), mode, "{url}");
        }
    }

    #[tokio::test]
    async fn a_server_without_tls_is_refused_with_a_hint() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(b"N").await.unwrap();
        });
        let backend = open(&format!("postgres://infra@127.0.0.1:{port}/infra?sslmode=require"));
        let error = backend.get("dev/state.json").await.unwrap_err();
        assert!(error.hints().iter().any(|hint| hint.contains("sslmode=disable")), "{error:?}");
    }
}
