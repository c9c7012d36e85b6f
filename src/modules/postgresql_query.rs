//! `postgresql_query`: runs SQL.

use serde_json::{Map, Value};

use super::{
    Argument, Arguments, Call, Decision, Declared, Exclusive, Flag, Module, Operation, Outcome, Step, Text,
    call::POSTGRESQL,
    conclude,
    declaration::arguments,
    postgresql::{Login, csv, message},
    probe::Probe,
    probe_failed,
    script::Sh,
    sql::{Token, literal, only_queries, only_reads, tokens},
};
use crate::{
    error::{Error, Result},
    remote::Output,
};

pub(super) struct PostgresqlQuery;

arguments! {
    struct QueryArguments {
        /// A statement, or a list of them.
        query: Option<Value>,
        #[serde(alias = "login_db", default)]
        db: Option<Text>,
        /// Values in the places of `%s`.
        #[serde(default)]
        positional_args: Vec<Value>,
        /// Values in the places of `%(name)s`.
        #[serde(default)]
        named_args: Map<String, Value>,
        /// A file of SQL beside the playbook.
        path_to_script: Option<Text>,
        /// Whether there is no transaction around it.
        #[serde(default)]
        autocommit: Flag,
        #[serde(flatten)]
        login: Login,
    }
}

impl Call for PostgresqlQuery {
    fn name(&self) -> &'static str {
        "postgresql_query"
    }

    fn about(&self) -> &'static str {
        "Runs SQL in a PostgreSQL database."
    }

    fn collection(&self) -> &'static str {
        POSTGRESQL
    }

    fn arguments(&self) -> &'static [Argument] {
        QueryArguments::ARGUMENTS
    }

    fn exclusive(&self) -> &'static [Exclusive] {
        &[&[&["query"], &["path_to_script"]], &[&["positional_args"], &["named_args"]]]
    }
}

impl Module for PostgresqlQuery {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: QueryArguments = super::read(task.named)?;
        let sql = match (&arguments.query, &arguments.path_to_script) {
            (Some(Value::String(text)), _) => text.clone(),
            (Some(Value::Array(list)), _) => list
                .iter()
                .filter_map(Value::as_str)
                .map(|one| one.trim_end_matches(';'))
                .collect::<Vec<_>>()
                .join(";\n"),
            (None, Some(path)) => String::from_utf8_lossy(&task.sources.file(path.as_str())?).into_owned(),
            _ => return Err(Error::usage("give either `query` or `path_to_script`")),
        };
        let sql = fill(sql.trim().trim_end_matches(';'), &arguments)?;
        let database = arguments.db.as_ref().map_or("postgres", Text::as_str);
        let wrapped = if arguments.autocommit.0 { format!("{sql};") } else { format!("BEGIN;\n{sql};\nCOMMIT;") };
        let tokens = tokens(&sql);
        if tokens.contains(&Token::Sign('\\')) {
            return Err(Error::usage("the query has a `\\` outside of its texts: psql's own commands are not SQL"));
        }
        let probe = only_reads(&tokens).then(|| arguments.login.query(database, &sql));
        let script = arguments.login.psql(database, &wrapped);
        Ok(Box::new(Query { changes: !only_queries(&tokens), sql, script, probe }))
    }
}

/// Puts arguments in place of `%s` and `%(name)s`, as psycopg does.
fn fill(sql: &str, arguments: &QueryArguments) -> Result<String> {
    if arguments.positional_args.is_empty() && arguments.named_args.is_empty() {
        return Ok(sql.to_owned());
    }
    let value = |value: &Value| match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(flag) => flag.to_string().to_ascii_uppercase(),
        Value::Number(number) => number.to_string(),
        other => literal(&crate::template::text_of(other)),
    };
    let mut positional = arguments.positional_args.iter();
    let mut out = String::new();
    let mut rest = sql;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('s') {
            out += &value(positional.next().ok_or_else(|| Error::usage("there are more `%s` than `positional_args`"))?);
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(")s")) {
            let found = arguments.named_args.get(name);
            out += &value(found.ok_or_else(|| Error::usage(format!("`named_args` has no `{name}`")))?);
            rest = after;
        } else {
            out.push('%');
            rest = rest.strip_prefix('%').unwrap_or(rest);
        }
    }
    Ok(out + rest)
}

struct Query {
    sql: String,
    script: Sh,
    /// How it is asked where it only reads, as far as can be seen.
    probe: Option<Probe>,
    /// Whether it counts as a change.
    changes: bool,
}

/// What a server answers to whatever would change something in a read-only transaction.
const REFUSED: &str = "25006:";

impl Query {
    fn result(&self, text: &str) -> Map<String, Value> {
        let mut rows = csv(text).into_iter();
        let header = rows.next().unwrap_or_default();
        let records: Vec<Value> = rows
            .filter(|row| row.len() == header.len())
            .map(|row| Value::Object(header.iter().cloned().zip(row.into_iter().map(typed)).collect()))
            .collect();
        Map::from_iter([
            ("query".to_owned(), self.sql.as_str().into()),
            ("rowcount".to_owned(), records.len().into()),
            ("query_result".to_owned(), Value::Array(records)),
        ])
    }
}

/// psql prints texts; whole numbers become numbers again, `t` and `f` stay texts, since they may be.
fn typed(text: String) -> Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => number.into(),
        _ => text.into(),
    }
}

impl Operation for Query {
    fn asks_elsewhere(&self) -> bool {
        true
    }

    fn probe(&self) -> Option<Probe> {
        self.probe.clone()
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        // What the server refused to do in a read-only transaction is no probe.
        if self.probe.is_none() || (!seen.succeeded() && seen.err().contains(REFUSED)) {
            let steps = vec![Step::Run(self.script.clone())];
            return Ok(Decision { changed: self.changes, steps, ..Decision::default() });
        }
        if !seen.succeeded() {
            return Err(probe_failed(&Output { stderr: message(&seen.err()).into_bytes(), ..seen.clone() }));
        }
        Ok(Decision::unchanged(self.result(&seen.out())))
    }

    fn conclude(&self, decision: Decision, outputs: &[Output]) -> Outcome {
        let mut outcome = conclude(decision, outputs);
        outcome.failure = outcome.failure.map(|failure| message(&failure));
        if let Some(output) = outputs.last().filter(|_| outcome.failure.is_none()) {
            outcome.result = self.result(&output.out());
            // `IF NOT EXISTS` says by a notice that nothing was done. The codes are those of duplicate objects.
            let statements =
                tokens(&self.sql).split(|token| *token == Token::Sign(';')).filter(|part| !part.is_empty()).count();
            let skipped = output
                .err()
                .lines()
                .filter(|line| {
                    ["42P07:", "42P06:", "42710:", "42701:", "42P04:"].iter().any(|code| line.contains(code))
                })
                .count();
            outcome.changed &= skipped < statements;
        }
        outcome
    }

    /// What is asked may be different each time, and costs what the author of the query knows.
    fn may_prefetch(&self) -> bool {
        false
    }
}
