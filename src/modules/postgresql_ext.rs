//! `postgresql_ext`: a database has an extension, or has not.

use serde::Deserialize;

use super::{
    Arguments, Decision, Flag, Module, Operation, Text,
    edit::Presence,
    entry,
    postgresql::{Login, rows},
    probe::Probe,
    sql::{ident, literal},
};
use crate::{error::Result, remote::Output};

pub(super) struct PostgresqlExt;

#[derive(Deserialize)]
struct ExtArguments {
    #[serde(alias = "ext")]
    name: Text,
    #[serde(alias = "login_db")]
    db: Text,
    schema: Option<Text>,
    version: Option<Text>,
    #[serde(default)]
    state: Presence,
    #[serde(default)]
    cascade: Flag,
    #[serde(flatten)]
    login: Login,
}

impl Module for PostgresqlExt {
    fn name(&self) -> &'static str {
        "postgresql_ext"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &[
            "name",
            "ext",
            "db",
            "login_db",
            "schema",
            "version",
            "state",
            "cascade",
            "login_host",
            "login_port",
            "login_user",
            "login_password",
            "login_unix_socket",
            "port",
        ]
    }

    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        Ok(Box::new(Ext(super::read(task.named)?)))
    }
}

struct Ext(ExtArguments);

impl Operation for Ext {
    fn asks_elsewhere(&self) -> bool {
        true
    }

    fn probe(&self) -> Option<Probe> {
        let sql = format!("SELECT extversion FROM pg_extension WHERE extname = {};", literal(self.0.name.as_str()));
        Some(self.0.login.query(self.0.db.as_str(), &sql))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let ext = &self.0;
        let rows = rows(seen)?;
        let name = ident(ext.name.as_str());
        let cascade = if ext.cascade.0 { " CASCADE" } else { "" };
        let version = ext.version.as_ref().map(Text::as_str).filter(|version| *version != "latest");
        let sql = match (ext.state, rows.first()) {
            (Presence::Present, None) => {
                let schema =
                    ext.schema.as_ref().map(|schema| format!(" SCHEMA {}", ident(&schema.0))).unwrap_or_default();
                let version = version.map(|version| format!(" VERSION {}", literal(version))).unwrap_or_default();
                Some(format!("CREATE EXTENSION {name}{schema}{version}{cascade};"))
            }
            (Presence::Present, Some(row)) if version.is_some_and(|version| row[0] != version) => {
                Some(format!("ALTER EXTENSION {name} UPDATE TO {};", literal(version.unwrap_or_default())))
            }
            (Presence::Absent, Some(_)) => Some(format!("DROP EXTENSION {name}{cascade};")),
            _ => None,
        };
        let result = entry("ext", ext.name.as_str());
        Ok(match sql {
            Some(sql) => Decision::run([ext.login.psql(ext.db.as_str(), &sql)], result),
            None => Decision::unchanged(result),
        })
    }
}
