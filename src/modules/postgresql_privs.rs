//! `postgresql_privs`: roles have privileges on objects, or have not.

use serde::Deserialize;

use super::{
    Arguments, Decision, Flag, List, Module, Operation, Text,
    edit::Presence,
    postgresql::{Login, rows},
    probe::Probe,
    script::Sh,
    sql::{ident, literal},
};
use crate::{
    error::{Error, Result},
    remote::Output,
};

pub(super) struct PostgresqlPrivs;

#[derive(Deserialize)]
struct PrivArguments {
    #[serde(alias = "login_db", alias = "db")]
    database: Text,
    #[serde(alias = "role")]
    roles: List,
    #[serde(alias = "priv", default)]
    privs: List,
    #[serde(alias = "obj", default)]
    objs: List,
    r#type: Option<Text>,
    schema: Option<Text>,
    #[serde(default)]
    state: Presence,
    #[serde(default)]
    grant_option: Flag,
    #[serde(flatten)]
    login: Login,
}

impl Module for PostgresqlPrivs {
    fn name(&self) -> &'static str {
        "postgresql_privs"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &[
            "database",
            "db",
            "login_db",
            "roles",
            "role",
            "privs",
            "priv",
            "objs",
            "obj",
            "type",
            "schema",
            "state",
            "grant_option",
            "login_host",
            "login_port",
            "login_user",
            "login_password",
            "login_unix_socket",
            "port",
        ]
    }

    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: PrivArguments = super::read(task.named)?;
        let kind = arguments.r#type.as_ref().map_or("table", Text::as_str).to_owned();
        if !["table", "sequence", "database", "schema", "group"].contains(&kind.as_str()) {
            return Err(Error::usage(format!(
                "`type: {kind}` is not supported; known: table, sequence, database, schema, group"
            )));
        }
        Ok(Box::new(Privs { arguments, kind }))
    }
}

struct Privs {
    arguments: PrivArguments,
    kind: String,
}

impl Privs {
    fn schema(&self) -> &str {
        self.arguments.schema.as_ref().map_or("public", Text::as_str)
    }

    fn all_in_schema(&self) -> bool {
        self.arguments.objs.0.iter().any(|object| object == "ALL_IN_SCHEMA")
    }

    /// The objects, or the database itself where none are named.
    fn objects(&self) -> Vec<String> {
        if self.kind == "database" && self.arguments.objs.0.is_empty() {
            vec![self.arguments.database.0.clone()]
        } else {
            self.arguments.objs.0.clone()
        }
    }

    fn privileges(&self) -> Vec<String> {
        let all: &[&str] = match self.kind.as_str() {
            "table" => &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"],
            "sequence" => &["USAGE", "SELECT", "UPDATE"],
            "database" => &["CREATE", "CONNECT", "TEMPORARY"],
            _ => &["CREATE", "USAGE"],
        };
        let wanted: Vec<String> =
            self.arguments.privs.0.iter().map(|privilege| privilege.to_ascii_uppercase()).collect();
        if wanted.iter().any(|privilege| privilege == "ALL") {
            all.iter().map(|p| (*p).to_owned()).collect()
        } else {
            wanted
        }
    }

    fn run(&self, sql: &str) -> Sh {
        self.arguments.login.psql(self.arguments.database.as_str(), sql)
    }

    /// What follows `ON` in GRANT.
    fn target(&self) -> String {
        let word = self.kind.to_ascii_uppercase();
        if self.all_in_schema() {
            return format!("ALL {word}S IN SCHEMA {}", ident(self.schema()));
        }
        let name = |object: &String| match self.kind.as_str() {
            "table" | "sequence" => format!("{}.{}", ident(self.schema()), ident(object)),
            _ => ident(object),
        };
        format!("{word} {}", self.objects().iter().map(name).collect::<Vec<_>>().join(", "))
    }
}

impl Operation for Privs {
    fn asks_elsewhere(&self) -> bool {
        true
    }

    /// Prints the role and the object of everything that is not as it should be.
    fn probe(&self) -> Option<Probe> {
        let present = self.arguments.state == Presence::Present;
        let not = if present { "NOT " } else { "" };
        let mut tests = Vec::new();
        for role in &self.arguments.roles.0 {
            let who = literal(role);
            if self.kind == "group" {
                tests.extend(
                    self.objects().iter().map(|group| {
                        format!("SELECT {who} WHERE {not}pg_has_role({who}, {}, 'MEMBER')", literal(group))
                    }),
                );
                continue;
            }
            let function = format!("has_{}_privilege", self.kind);
            for privilege in self.privileges() {
                let privilege = literal(&privilege);
                if self.all_in_schema() {
                    let kinds = if self.kind == "table" { "'r','p','v','m','f'" } else { "'S'" };
                    tests.push(format!(
                        "SELECT {who} FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} \
                         AND c.relkind IN ({kinds}) AND {not}{function}({who}, c.oid, {privilege})",
                        literal(self.schema())
                    ));
                    continue;
                }
                tests.extend(self.objects().iter().map(|object| {
                    let name = match self.kind.as_str() {
                        "table" | "sequence" => literal(&format!("{}.{}", ident(self.schema()), ident(object))),
                        _ => literal(object),
                    };
                    format!("SELECT {who} WHERE {not}{function}({who}, {name}, {privilege})")
                }));
            }
        }
        let sql = format!("{} LIMIT 1;", tests.join(" UNION ALL "));
        Some(self.arguments.login.query(self.arguments.database.as_str(), &sql))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        if rows(seen)?.is_empty() {
            return Ok(Decision::default());
        }
        let roles = self.arguments.roles.0.iter().map(|role| ident(role)).collect::<Vec<_>>().join(", ");
        let granted = if self.kind == "group" {
            self.objects().iter().map(|group| ident(group)).collect::<Vec<_>>().join(", ")
        } else {
            format!("{} ON {}", self.privileges().join(", "), self.target())
        };
        let sql = match self.arguments.state {
            Presence::Present => {
                let option = if self.arguments.grant_option.0 { " WITH GRANT OPTION" } else { "" };
                format!("GRANT {granted} TO {roles}{option};")
            }
            Presence::Absent => format!("REVOKE {granted} FROM {roles};"),
        };
        Ok(Decision::run([self.run(&sql)], super::entry("queries", vec![sql.clone()])))
    }
}
