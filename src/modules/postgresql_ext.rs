//! `postgresql_ext`: a database has an extension, or has not.

use super::{
    Argument, Arguments, Call, Decision, Declared, Flag, Module, Operation, Text,
    call::POSTGRESQL,
    declaration::arguments,
    edit::Presence,
    entry,
    postgresql::{Login, rows},
    probe::Probe,
    probe_failed,
    sql::{ident, literal},
};
use crate::{error::Result, remote::Output};

pub(super) struct PostgresqlExt;

arguments! {
    struct ExtArguments {
        #[serde(alias = "ext")]
        name: Text,
        /// The database.
        #[serde(alias = "login_db")]
        db: Text,
        schema: Option<Text>,
        /// A version or `latest`.
        version: Option<Text>,
        #[serde(default)]
        state: Presence,
        /// Whether what it needs is created, or what needs it is dropped.
        #[serde(default)]
        cascade: Flag,
        #[serde(flatten)]
        login: Login,
    }
}

impl Call for PostgresqlExt {
    fn name(&self) -> &'static str {
        "postgresql_ext"
    }

    fn about(&self) -> &'static str {
        "Creates, updates or drops an extension of a PostgreSQL database."
    }

    fn collection(&self) -> &'static str {
        POSTGRESQL
    }

    fn arguments(&self) -> &'static [Argument] {
        ExtArguments::ARGUMENTS
    }
}

impl Module for PostgresqlExt {
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
        let name = literal(self.0.name.as_str());
        let sql = format!(
            "SELECT extversion, \
             (SELECT nspname FROM pg_namespace n WHERE n.oid = extnamespace) AS schema, \
             (SELECT default_version FROM pg_available_extensions WHERE name = {name}) AS latest \
             FROM pg_extension WHERE extname = {name};"
        );
        Some(self.0.login.query(self.0.db.as_str(), &sql))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let ext = &self.0;
        let rows = rows(seen)?;
        let name = ident(ext.name.as_str());
        let cascade = if ext.cascade.0 { " CASCADE" } else { "" };
        let version = ext.version.as_ref().map(Text::as_str);
        let mut sql = Vec::new();
        match (ext.state, rows.first()) {
            (Presence::Present, None) => {
                let schema =
                    ext.schema.as_ref().map(|schema| format!(" SCHEMA {}", ident(&schema.0))).unwrap_or_default();
                let version = version.filter(|version| *version != "latest");
                let version = version.map(|version| format!(" VERSION {}", literal(version))).unwrap_or_default();
                sql.push(format!("CREATE EXTENSION {name}{schema}{version}{cascade};"));
            }
            (Presence::Present, Some(row)) => {
                let [installed, schema, latest] = &row[..] else { return Err(probe_failed(seen)) };
                match version {
                    // Without a version the server takes its own latest one.
                    Some("latest") if installed != latest => sql.push(format!("ALTER EXTENSION {name} UPDATE;")),
                    None | Some("latest") => {}
                    Some(version) if version == installed => {}
                    Some(version) => sql.push(format!("ALTER EXTENSION {name} UPDATE TO {};", literal(version))),
                }
                if let Some(wanted) = ext.schema.as_ref().filter(|wanted| wanted.0 != *schema) {
                    sql.push(format!("ALTER EXTENSION {name} SET SCHEMA {};", ident(&wanted.0)));
                }
            }
            (Presence::Absent, Some(_)) => sql.push(format!("DROP EXTENSION {name}{cascade};")),
            (Presence::Absent, None) => {}
        }
        let result = entry("ext", ext.name.as_str());
        Ok(if sql.is_empty() {
            Decision::unchanged(result)
        } else {
            Decision::run([ext.login.psql(ext.db.as_str(), &sql.join("\n"))], result)
        })
    }
}
