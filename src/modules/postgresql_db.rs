//! `postgresql_db`: a database exists, or does not.

use super::{
    Argument, Arguments, Call, Decision, Declared, Flag, Module, Number, Operation, Text,
    call::POSTGRESQL,
    declaration::arguments,
    edit::Presence,
    entry,
    postgresql::{Login, rows},
    probe::Probe,
    probe_failed,
    script::Sh,
    sql::{ident, literal},
};
use crate::{
    error::{Error, Result},
    remote::Output,
};

pub(super) struct PostgresqlDb;

arguments! {
    struct DbArguments {
        #[serde(alias = "db")]
        name: Text,
        owner: Option<Text>,
        encoding: Option<Text>,
        lc_collate: Option<Text>,
        lc_ctype: Option<Text>,
        template: Option<Text>,
        tablespace: Option<Text>,
        /// How many connections there may be; `-1` is any number.
        conn_limit: Option<Number<i64>>,
        #[serde(default)]
        state: Presence,
        /// Whether connections to a database that is dropped are ended.
        #[serde(default)]
        force: Flag,
        /// The database that is connected to, `postgres` where nothing is said.
        maintenance_db: Option<Text>,
        #[serde(flatten)]
        login: Login,
    }
}

impl Call for PostgresqlDb {
    fn name(&self) -> &'static str {
        "postgresql_db"
    }

    fn about(&self) -> &'static str {
        "Creates, changes or drops a database of PostgreSQL."
    }

    fn collection(&self) -> &'static str {
        POSTGRESQL
    }

    fn arguments(&self) -> &'static [Argument] {
        DbArguments::ARGUMENTS
    }
}

impl Module for PostgresqlDb {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        Ok(Box::new(Db(super::read(task.named)?)))
    }
}

struct Db(DbArguments);

impl Db {
    fn database(&self) -> &str {
        self.0.maintenance_db.as_ref().map_or("postgres", Text::as_str)
    }

    fn run(&self, sql: &str) -> Sh {
        self.0.login.psql(self.database(), sql)
    }
}

impl Operation for Db {
    fn asks_elsewhere(&self) -> bool {
        true
    }

    fn probe(&self) -> Option<Probe> {
        // The server knows that `UTF-8` and `utf8` are one encoding.
        let encoding = self.0.encoding.as_ref();
        let same = encoding.map_or_else(
            || "true".to_owned(),
            |wanted| format!("encoding = pg_char_to_encoding({})", literal(&wanted.0)),
        );
        let sql = format!(
            "SELECT pg_get_userbyid(datdba) AS owner, datconnlimit, pg_encoding_to_char(encoding) AS encoding, \
             {same} AS same, datcollate, datctype, \
             (SELECT spcname FROM pg_tablespace t WHERE t.oid = dattablespace) AS tablespace \
             FROM pg_database WHERE datname = {};",
            literal(self.0.name.as_str())
        );
        Some(self.0.login.query(self.database(), &sql))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let db = &self.0;
        let rows = rows(seen)?;
        let name = ident(db.name.as_str());
        let mut sql = Vec::new();
        match (db.state, rows.first()) {
            (Presence::Absent, None) => {}
            (Presence::Absent, Some(_)) => {
                sql.push(format!("DROP DATABASE {name}{};", if db.force.0 { " WITH (FORCE)" } else { "" }));
            }
            (Presence::Present, None) => {
                let mut statement = format!("CREATE DATABASE {name}");
                let option = |word: &str, value: Option<String>| {
                    value.map(|value| format!(" {word} {value}")).unwrap_or_default()
                };
                statement += &option("OWNER", db.owner.as_ref().map(|owner| ident(&owner.0)));
                statement += &option("TEMPLATE", db.template.as_ref().map(|template| ident(&template.0)));
                statement += &option("ENCODING", db.encoding.as_ref().map(|encoding| literal(&encoding.0)));
                statement += &option("LC_COLLATE", db.lc_collate.as_ref().map(|collate| literal(&collate.0)));
                statement += &option("LC_CTYPE", db.lc_ctype.as_ref().map(|ctype| literal(&ctype.0)));
                statement += &option("TABLESPACE", db.tablespace.as_ref().map(|space| ident(&space.0)));
                statement += &option("CONNECTION LIMIT", db.conn_limit.map(|limit| limit.0.to_string()));
                sql.push(statement + ";");
            }
            (Presence::Present, Some(row)) => {
                let [owner, limit, encoding, same_encoding, collate, ctype, tablespace] = &row[..] else {
                    return Err(probe_failed(seen));
                };
                let differs =
                    |wanted: &Option<Text>, now: &String| wanted.as_ref().is_some_and(|wanted| wanted.0 != *now);
                for (argument, wanted, now, differs) in [
                    ("encoding", &db.encoding, encoding, same_encoding != "t"),
                    ("lc_collate", &db.lc_collate, collate, differs(&db.lc_collate, collate)),
                    ("lc_ctype", &db.lc_ctype, ctype, differs(&db.lc_ctype, ctype)),
                ] {
                    if let Some(wanted) = wanted.as_ref().filter(|_| differs) {
                        return Err(Error::new(format!(
                            "the database `{}` has `{argument}: {now}`, and not `{}`: PostgreSQL cannot change that",
                            db.name.0, wanted.0
                        )));
                    }
                }
                if let Some(owner) = db.owner.as_ref().filter(|wanted| wanted.0 != *owner) {
                    sql.push(format!("ALTER DATABASE {name} OWNER TO {};", ident(&owner.0)));
                }
                if let Some(limit) = db.conn_limit.map(|wanted| wanted.0).filter(|wanted| wanted.to_string() != *limit)
                {
                    sql.push(format!("ALTER DATABASE {name} CONNECTION LIMIT {limit};"));
                }
                if let Some(space) = db.tablespace.as_ref().filter(|wanted| wanted.0 != *tablespace) {
                    sql.push(format!("ALTER DATABASE {name} SET TABLESPACE {};", ident(&space.0)));
                }
            }
        }
        let result = entry("db", db.name.as_str());
        Ok(if sql.is_empty() {
            Decision::unchanged(result)
        } else {
            Decision::run([self.run(&sql.join("\n"))], result)
        })
    }
}
