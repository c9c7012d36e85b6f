//! `postgresql_privs`: roles have privileges on objects, or have not.

use serde::Deserialize;

use super::{
    Argument, Arguments, Call, Decision, Declared, Flag, List, Module, Operation, Text,
    call::POSTGRESQL,
    declaration::{arguments, choices},
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

arguments! {
    struct PrivArguments {
        #[serde(alias = "login_db", alias = "db")]
        database: Text,
        /// The roles that get the privileges.
        #[serde(alias = "role")]
        roles: List,
        /// Privileges, such as `SELECT,INSERT` or `ALL`.
        #[serde(alias = "priv", default)]
        privs: List,
        /// The objects, or for `group` the roles that are granted; `ALL_IN_SCHEMA` is all objects.
        #[serde(alias = "obj", default)]
        objs: List,
        #[serde(default)]
        r#type: Kind,
        schema: Option<Text>,
        #[serde(default)]
        state: Presence,
        /// Whether they may pass on what they have; that stays as it is where nothing is said.
        #[serde(alias = "admin_option")]
        grant_option: Option<Flag>,
        #[serde(flatten)]
        login: Login,
    }
}

/// What privileges are on.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Table,
    Sequence,
    Database,
    Schema,
    Group,
}

choices!(default Kind);

impl Kind {
    /// Its word in statements.
    fn word(self) -> &'static str {
        match self {
            Self::Table => "TABLE",
            Self::Sequence => "SEQUENCE",
            Self::Database => "DATABASE",
            Self::Schema => "SCHEMA",
            Self::Group => "ROLE",
        }
    }

    /// The table that has such objects, their name there, and the privileges that were given on them.
    fn catalog(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Table | Self::Sequence => ("pg_class", "relname", "relacl"),
            Self::Database => ("pg_database", "datname", "datacl"),
            Self::Schema | Self::Group => ("pg_namespace", "nspname", "nspacl"),
        }
    }

    fn is_in_schema(self) -> bool {
        matches!(self, Self::Table | Self::Sequence)
    }
}

impl Call for PostgresqlPrivs {
    fn name(&self) -> &'static str {
        "postgresql_privs"
    }

    fn about(&self) -> &'static str {
        "Grants privileges on objects of a PostgreSQL database, or revokes them."
    }

    fn collection(&self) -> &'static str {
        POSTGRESQL
    }

    fn arguments(&self) -> &'static [Argument] {
        PrivArguments::ARGUMENTS
    }
}

impl Module for PostgresqlPrivs {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: PrivArguments = super::read(task.named)?;
        if arguments.state == Presence::Absent && arguments.grant_option.is_some() {
            return Err(Error::usage("`grant_option` is for `state: present`: what is revoked cannot be passed on"));
        }
        Ok(Box::new(Privs { kind: arguments.r#type, arguments }))
    }
}

struct Privs {
    arguments: PrivArguments,
    kind: Kind,
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
        if self.kind == Kind::Database && self.arguments.objs.0.is_empty() {
            vec![self.arguments.database.0.clone()]
        } else {
            self.arguments.objs.0.clone()
        }
    }

    fn privileges(&self) -> Vec<String> {
        let all: &[&str] = match self.kind {
            Kind::Table => &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"],
            Kind::Sequence => &["USAGE", "SELECT", "UPDATE"],
            Kind::Database => &["CREATE", "CONNECT", "TEMPORARY"],
            Kind::Schema | Kind::Group => &["CREATE", "USAGE"],
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
        let word = self.kind.word();
        if self.all_in_schema() {
            return format!("ALL {word}S IN SCHEMA {}", ident(self.schema()));
        }
        let name = |object: &String| {
            if self.kind.is_in_schema() { format!("{}.{}", ident(self.schema()), ident(object)) } else { ident(object) }
        };
        format!("{word} {}", self.objects().iter().map(name).collect::<Vec<_>>().join(", "))
    }

    /// The condition under which a role has a membership or privilege as it shall have it.
    fn holds(&self, has: &dyn Fn(&str) -> String, passed_on: &str) -> String {
        match self.arguments.grant_option {
            None => has(""),
            Some(Flag(true)) => has(if self.kind == Kind::Group { " WITH ADMIN OPTION" } else { " WITH GRANT OPTION" }),
            // An owner may pass everything on: only what was given counts.
            Some(Flag(false)) => format!("({} AND NOT EXISTS ({passed_on}))", has("")),
        }
    }

    /// A query that yields a row where a role is not a member of a group as it shall be.
    fn membership(&self, role: &str, group: &str) -> String {
        let (who, group) = (literal(role), literal(group));
        let has = |option: &str| format!("pg_has_role({who}, {group}, {})", literal(&format!("MEMBER{option}")));
        let passed_on = format!(
            "SELECT FROM pg_auth_members m WHERE m.member = (SELECT oid FROM pg_roles WHERE rolname = {who}) \
             AND m.roleid = (SELECT oid FROM pg_roles WHERE rolname = {group}) AND m.admin_option"
        );
        format!("SELECT {who} WHERE {}{}", self.not(), self.holds(&has, &passed_on))
    }

    /// A query that yields a row for each object on which a role has not a privilege as it shall have it; `object` is `None` for
    /// all of a schema.
    fn privilege(&self, role: &str, privilege: &str, object: Option<&str>) -> String {
        let who = literal(role);
        let (table, name, acl) = self.kind.catalog();
        let (subject, given) = match object {
            None => ("o.oid".to_owned(), format!("aclexplode(o.{acl}) a WHERE")),
            Some(object) if self.kind.is_in_schema() => {
                let subject = literal(&format!("{}.{}", ident(self.schema()), ident(object)));
                let given = format!("{table} o, aclexplode(o.{acl}) a WHERE o.oid = {subject}::regclass AND");
                (subject, given)
            }
            Some(object) => {
                let subject = literal(object);
                let given = format!("{table} o, aclexplode(o.{acl}) a WHERE o.{name} = {subject} AND");
                (subject, given)
            }
        };
        let function = format!("has_{}_privilege", self.kind.word().to_lowercase());
        let has = |option: &str| format!("{function}({who}, {subject}, {})", literal(&format!("{privilege}{option}")));
        let passed_on = format!(
            "SELECT FROM {given} a.is_grantable AND a.privilege_type = {} \
             AND a.grantee = (SELECT oid FROM pg_roles WHERE rolname = {who})",
            literal(privilege)
        );
        let wrong = format!("{}{}", self.not(), self.holds(&has, &passed_on));
        if object.is_some() {
            return format!("SELECT {who} WHERE {wrong}");
        }
        let kinds = if self.kind == Kind::Table { "'r','p','v','m','f'" } else { "'S'" };
        format!(
            "SELECT {who} FROM pg_class o JOIN pg_namespace n ON n.oid = o.relnamespace WHERE n.nspname = {} \
             AND o.relkind IN ({kinds}) AND {wrong}",
            literal(self.schema())
        )
    }

    fn not(&self) -> &'static str {
        if self.arguments.state == Presence::Present { "NOT " } else { "" }
    }

    /// The statements that give or take.
    fn statements(&self) -> Vec<String> {
        let roles = self.arguments.roles.0.iter().map(|role| ident(role)).collect::<Vec<_>>().join(", ");
        let group = self.kind == Kind::Group;
        let what = if group {
            self.objects().iter().map(|group| ident(group)).collect::<Vec<_>>().join(", ")
        } else {
            format!("{} ON {}", self.privileges().join(", "), self.target())
        };
        let option = if group { "ADMIN OPTION" } else { "GRANT OPTION" };
        match (self.arguments.state, self.arguments.grant_option) {
            (Presence::Absent, _) => vec![format!("REVOKE {what} FROM {roles};")],
            (Presence::Present, None) => vec![format!("GRANT {what} TO {roles};")],
            (Presence::Present, Some(Flag(true))) => vec![format!("GRANT {what} TO {roles} WITH {option};")],
            (Presence::Present, Some(Flag(false))) => {
                vec![format!("GRANT {what} TO {roles};"), format!("REVOKE {option} FOR {what} FROM {roles};")]
            }
        }
    }
}

impl Operation for Privs {
    fn asks_elsewhere(&self) -> bool {
        true
    }

    /// Prints the role of everything that is not as it should be.
    fn probe(&self) -> Option<Probe> {
        let mut tests = Vec::new();
        for role in &self.arguments.roles.0 {
            if self.kind == Kind::Group {
                tests.extend(self.objects().iter().map(|group| self.membership(role, group)));
                continue;
            }
            for privilege in self.privileges() {
                if self.all_in_schema() {
                    tests.push(self.privilege(role, &privilege, None));
                } else {
                    let objects = self.objects();
                    tests.extend(objects.iter().map(|object| self.privilege(role, &privilege, Some(object))));
                }
            }
        }
        let sql = format!("{} LIMIT 1;", tests.join(" UNION ALL "));
        Some(self.arguments.login.query(self.arguments.database.as_str(), &sql))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        if rows(seen)?.is_empty() {
            return Ok(Decision::default());
        }
        let sql = self.statements();
        Ok(Decision::run([self.run(&sql.join("\n"))], super::entry("queries", sql)))
    }
}
