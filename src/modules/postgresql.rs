//! What the modules of PostgreSQL share: `psql` on the host, and SQL that is quoted.

use serde::Deserialize;

use super::{Text, probe_failed};
use crate::{
    error::Result,
    remote::{Output, quote},
};

/// How the server is reached.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Login {
    login_host: Option<Text>,
    #[serde(alias = "port")]
    login_port: Option<u16>,
    login_user: Option<Text>,
    login_password: Option<Text>,
    login_unix_socket: Option<Text>,
}

impl Login {
    /// A script that runs SQL in a database; rows come out as CSV with a header.
    pub(super) fn psql(&self, database: &str, sql: &str) -> String {
        let mut script = String::new();
        if let Some(password) = &self.login_password {
            script += &format!("export PGPASSWORD={}\n", quote(password.as_str()));
        }
        script += "export PGCLIENTENCODING=UTF8 LC_ALL=C.UTF-8\npsql -X -q --csv -v ON_ERROR_STOP=1";
        if let Some(host) =
            self.login_host.as_ref().or(self.login_unix_socket.as_ref()).filter(|host| !host.0.is_empty())
        {
            script += &format!(" -h {}", quote(host.as_str()));
        }
        if let Some(port) = self.login_port {
            script += &format!(" -p {port}");
        }
        script += &format!(" -U {}", quote(self.login_user.as_ref().map_or("postgres", Text::as_str)));
        // The statements come on standard input: arguments can be seen by everybody on the host.
        script + &format!(" -d {} <<'INFRA-SQL'\n{sql}\nINFRA-SQL", quote(database))
    }
}

/// A name in SQL.
pub(super) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL.
pub(super) fn literal(text: &str) -> String {
    let escape = if text.contains('\\') { "E" } else { "" };
    format!("{escape}'{}'", text.replace('\'', "''").replace('\\', "\\\\"))
}

/// The rows behind the header of a probe.
pub(super) fn rows(seen: &Output) -> Result<Vec<Vec<String>>> {
    if !seen.succeeded() {
        return Err(probe_failed(seen));
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
    use super::{csv, ident, literal};

    #[test]
    fn sql_is_quoted() {
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b'"), "E'a\\\\b'''");
    }

    #[test]
    fn csv_knows_quotes_and_line_breaks() {
        assert_eq!(csv("a,b\n\"x,\"\"y\",\"1\n2\"\n"), [["a", "b"], ["x,\"y", "1\n2"]]);
    }
}
