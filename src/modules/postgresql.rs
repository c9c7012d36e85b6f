//! What the modules of PostgreSQL share: `psql` on the host, and what it prints.

use super::{
    Number, Text,
    declaration::arguments,
    probe::{Probe, Psql},
    probe_failed,
    script::{Sh, sh},
};
use crate::{error::Result, remote::Output};

arguments! {
    /// How the server is reached.
    #[derive(Clone, Debug, Default)]
    pub(super) struct Login {
        /// Where the server is; its socket where nothing is said.
        login_host: Option<Text>,
        #[serde(alias = "port")]
        login_port: Option<Number<u16>>,
        login_user: Option<Text>,
        login_password: Option<Text>,
        login_unix_socket: Option<Text>,
    }
}

impl Login {
    /// A script that runs SQL in a database; rows come out as CSV with a header.
    pub(super) fn psql(&self, database: &str, sql: &str) -> Sh {
        let Psql { environment, arguments } = self.command(database);
        // The statements come on standard input: arguments can be seen by everybody on the host.
        sh!("{0}printf '%s\\n' {1} | {2}", environment, sql, arguments)
    }

    /// A question to a database, which the server lets change nothing.
    pub(super) fn query(&self, database: &str, sql: &str) -> Probe {
        Probe::query(&self.command(database), sql)
    }

    /// The first question, or where it is refused the second one.
    pub(super) fn query_or(&self, database: &str, sql: &str, otherwise: &str) -> Probe {
        Probe::query_or(&self.command(database), sql, otherwise)
    }

    fn command(&self, database: &str) -> Psql {
        let password = self.login_password.as_ref();
        let password = password.map_or_else(Sh::default, |password| sh!("export PGPASSWORD={0}\n", password));
        let host = self.login_host.as_ref().or(self.login_unix_socket.as_ref()).filter(|host| !host.0.is_empty());
        let host = host.map_or_else(Sh::default, |host| sh!(" -h {0}", host));
        let port = self.login_port.map_or_else(Sh::default, |port| sh!(" -p {0}", port));
        let user = self.login_user.as_ref().map_or("postgres", Text::as_str);
        Psql {
            environment: sh!("{0}export PGCLIENTENCODING=UTF8 LC_ALL=C.UTF-8\n", password),
            // Codes come beside messages, which servers translate.
            arguments: sh!(
                "psql -X -q --csv -v ON_ERROR_STOP=1 -v VERBOSITY=verbose{0}{1} -U {2} -d {3}",
                host,
                port,
                user,
                database
            ),
        }
    }
}

/// What psql said of a failure, without the place in the server's source.
pub(super) fn message(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("LOCATION:")).collect::<Vec<_>>().join("\n")
}

/// The rows behind the header of a probe.
pub(super) fn rows(seen: &Output) -> Result<Vec<Vec<String>>> {
    if !seen.succeeded() {
        let stderr = message(&seen.err()).into_bytes();
        return Err(probe_failed(&Output { stderr, ..seen.clone() }));
    }
    let mut rows = csv(&seen.out());
    if !rows.is_empty() {
        rows.remove(0);
    }
    Ok(rows)
}

/// Reads CSV (RFC 4180).
pub(super) fn csv(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quoted, c) {
            (true, '"') if chars.peek() == Some(&'"') => field.extend(chars.next()),
            (_, '"') => quoted = !quoted,
            (false, ',') => row.push(std::mem::take(&mut field)),
            (false, '\n') => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            (_, c) => field.push(c),
        }
    }
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::csv;

    #[test]
    fn csv_knows_quotes_and_line_breaks() {
        assert_eq!(csv("a,b\n\"x,\"\"y\",\"1\n2\"\n"), [["a", "b"], ["x,\"y", "1\n2"]]);
    }
}
