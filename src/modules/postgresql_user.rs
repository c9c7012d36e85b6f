//! `postgresql_user`: a login of the database exists with this password and these attributes, or does not.

use super::{
    Argument, Arguments, Call, Decision, Flag, Form, Module, Number, Operation, Text, Typed,
    call::POSTGRESQL,
    declaration::arguments,
    edit::Presence,
    entry,
    postgresql::{Login, rows},
    probe::Probe,
    script::Sh,
    sql::{ident, literal},
};
use crate::{
    error::{Error, Result},
    remote::Output,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{digest, hmac, pbkdf2};

pub(super) struct PostgresqlUser;

arguments! {
    struct UserArguments {
        #[serde(alias = "user")]
        name: Text,
        password: Option<Text>,
        #[serde(default)]
        state: Presence,
        /// Attributes, such as `CREATEDB,NOSUPERUSER`.
        role_attr_flags: Option<Text>,
        /// How many connections there may be; `-1` is any number.
        conn_limit: Option<Number<i64>>,
        /// Whether the password of a role that is there stays.
        #[serde(default)]
        no_password_changes: Flag,
        /// The database that is connected to, `postgres` where nothing is said.
        #[serde(alias = "login_db")]
        db: Option<Text>,
        #[serde(flatten)]
        login: Login,
    }
}

impl Call for PostgresqlUser {
    fn name(&self) -> &'static str {
        "postgresql_user"
    }

    fn about(&self) -> &'static str {
        "Creates, changes or drops a role of PostgreSQL."
    }

    fn collection(&self) -> &'static str {
        POSTGRESQL
    }

    fn arguments(&self) -> &'static [Argument] {
        const ALL: &[Argument] = &[Argument::new("", UserArguments::FORM), Argument::new("encrypted", Form::Flag)];
        ALL
    }

    fn no_effect(&self) -> &'static [(&'static str, &'static str)] {
        &[("encrypted", "a password is kept as a hash in any case")]
    }
}

impl Module for PostgresqlUser {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: UserArguments = super::read(task.named)?;
        for flag in flags(&arguments) {
            let base = flag.strip_prefix("NO").unwrap_or(&flag);
            if !FLAGS.iter().any(|(name, _)| *name == base) {
                return Err(Error::usage(format!("`{flag}` is not an attribute of a role")));
            }
        }
        Ok(Box::new(User(arguments)))
    }
}

/// Attributes and their columns of `pg_authid`.
const FLAGS: &[(&str, &str)] = &[
    ("SUPERUSER", "rolsuper"),
    ("CREATEROLE", "rolcreaterole"),
    ("CREATEDB", "rolcreatedb"),
    ("INHERIT", "rolinherit"),
    ("LOGIN", "rolcanlogin"),
    ("REPLICATION", "rolreplication"),
    ("BYPASSRLS", "rolbypassrls"),
];

fn flags(arguments: &UserArguments) -> Vec<String> {
    let text = arguments.role_attr_flags.as_ref().map_or("", Text::as_str).to_ascii_uppercase();
    text.split([',', ' ']).filter(|flag| !flag.is_empty()).map(str::to_owned).collect()
}

struct User(UserArguments);

impl User {
    fn database(&self) -> &str {
        self.0.db.as_ref().map_or("postgres", Text::as_str)
    }

    fn run(&self, sql: &str) -> Sh {
        self.0.login.psql(self.database(), sql)
    }
}

impl Operation for User {
    fn asks_elsewhere(&self) -> bool {
        true
    }

    fn probe(&self) -> Option<Probe> {
        let columns: Vec<&str> = FLAGS.iter().map(|(_, column)| *column).collect();
        let (columns, name) = (columns.join(", "), literal(self.0.name.as_str()));
        // Only a superuser sees passwords: to others every role has none that is known.
        let all = format!("SELECT rolpassword, rolconnlimit, {columns} FROM pg_authid WHERE rolname = {name};");
        let visible =
            format!("SELECT NULL AS rolpassword, rolconnlimit, {columns} FROM pg_roles WHERE rolname = {name};");
        Some(self.0.login.query_or(self.database(), &all, &visible))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let user = &self.0;
        let rows = rows(seen)?;
        let name = ident(user.name.as_str());
        let row = rows.first();
        let result = entry("user", user.name.as_str());
        let mut options = Vec::new();
        if user.state == Presence::Absent {
            return Ok(match row {
                Some(_) => Decision::run([self.run(&format!("DROP ROLE {name};"))], result),
                None => Decision::unchanged(result),
            });
        }
        if let Some(password) = &user.password
            && match row {
                None => true,
                Some(row) => !user.no_password_changes.0 && !matches(&row[0], password.as_str())?,
            }
        {
            options.push(format!("PASSWORD {}", literal(password.as_str())));
        }
        for flag in flags(user) {
            let (base, wanted) = flag.strip_prefix("NO").map_or((flag.as_str(), "t"), |base| (base, "f"));
            let at = FLAGS.iter().position(|(name, _)| *name == base).map(|at| at + 2);
            if row.is_none_or(|row| at.and_then(|at| row.get(at)).map(String::as_str) != Some(wanted)) {
                options.push(flag.clone());
            }
        }
        if let Some(limit) = user
            .conn_limit
            .map(|limit| limit.0)
            .filter(|limit| row.is_none_or(|row| row.get(1) != Some(&limit.to_string())))
        {
            options.push(format!("CONNECTION LIMIT {limit}"));
        }
        let statement = match row {
            // A user may log in, unless its flags say otherwise.
            None => format!("CREATE USER {name} {};", options.join(" ")),
            Some(_) if options.is_empty() => return Ok(Decision::unchanged(result)),
            Some(_) => format!("ALTER ROLE {name} {};", options.join(" ")),
        };
        // The server must not write the password into its log; only a superuser may tell it so.
        let quiet = "DO $$BEGIN PERFORM set_config('log_statement', 'none', false), \
                     set_config('log_min_error_statement', 'panic', false), \
                     set_config('log_min_duration_statement', '-1', false); \
                     EXCEPTION WHEN insufficient_privilege THEN NULL; END$$;";
        Ok(Decision::run([self.run(&format!("{quiet}\n{statement}"))], result))
    }
}

/// How many iterations of PBKDF2 are computed for a host at most; servers use 4096.
const MAX_ITERATIONS: u32 = 1_000_000;

/// Whether a stored password is this one. Source of the SCRAM form: RFC 5802 and PostgreSQL's `scram-common.c`.
fn matches(stored: &str, password: &str) -> Result<bool> {
    if stored == password {
        return Ok(true);
    }
    let Some(rest) = stored.strip_prefix("SCRAM-SHA-256$") else { return Ok(false) };
    let parts = || {
        let (parameters, keys) = rest.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let stored_key = keys.split(':').next()?;
        Some((iterations.parse().ok()?, STANDARD.decode(salt).ok()?, STANDARD.decode(stored_key).ok()?))
    };
    let Some((iterations, salt, stored_key)): Option<(std::num::NonZeroU32, Vec<u8>, Vec<u8>)> = parts() else {
        return Ok(false);
    };
    if iterations.get() > MAX_ITERATIONS || salt.len() > 1024 {
        return Err(Error::new(format!(
            "the stored password wants {iterations} iterations, more than the {MAX_ITERATIONS} that are computed here"
        ))
        .hint(
            "`no_password_changes: true` leaves the password as it is; `scram_iterations` of the server is the setting",
        ));
    }
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password.as_bytes(), &mut salted);
    let client_key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salted), b"Client Key");
    Ok(digest::digest(&digest::SHA256, client_key.as_ref()).as_ref() == stored_key)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_scram_verifier_is_recognised() {
        // RFC 7677, section 3: user `user`, password `pencil`.
        let stored = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        assert!(matches(stored, "pencil").unwrap());
        assert!(!matches(stored, "pen").unwrap());
    }

    /// What the host names costs us time: it must not be able to name more than a server would.
    #[test]
    fn the_host_does_not_choose_how_long_we_compute() {
        let stored = "SCRAM-SHA-256$4294967295:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:x";
        assert!(matches(stored, "pencil").unwrap_err().to_string().contains("4294967295 iterations"));
    }
}
