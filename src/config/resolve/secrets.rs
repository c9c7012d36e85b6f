//! Secrets of the file, and those that passwords of logins need beside them.

use indexmap::IndexMap;

use super::{Resolver, mark_of};
use crate::{
    config::{
        PostgresService,
        file::{File, SecretSource},
    },
    error::{did_you_mean, distance},
    name::Name,
    yaml::{Mark, Node},
};

/// How long the password of a login is that nothing is said about.
const LENGTH: u32 = 24;

/// The secrets and their places: those that are declared, and the generated passwords of logins that name no declared one.
pub(super) fn resolve(
    declared: IndexMap<String, SecretSource>, postgres: &IndexMap<Name, PostgresService>, root: &Node,
) -> (IndexMap<String, SecretSource>, IndexMap<String, Mark>) {
    let mut marks: IndexMap<String, Mark> =
        declared.keys().map(|name| (name.clone(), mark_of(root, &["secrets", name]))).collect();
    let mut secrets = declared;
    for (name, service) in postgres {
        for (user, password) in &service.users {
            secrets.entry(password.clone()).or_insert(SecretSource::Generate(LENGTH));
            let mark = || mark_of(root, &["postgres", name.as_str(), "users", user, "password"]);
            marks.entry(password.clone()).or_insert_with(mark);
        }
    }
    (secrets, marks)
}

impl Resolver<'_> {
    /// A password names a secret. One that is not declared is generated, unless its name is nearly that of one which is.
    pub(super) fn passwords(&mut self, file: &File) {
        for (service, settings) in &file.postgres {
            for (user, login) in &settings.users {
                let Some(name) = login.password.as_ref().filter(|name| !file.secrets.contains_key(*name)) else {
                    continue;
                };
                let declared = file.secrets.keys().map(String::as_str);
                if let Some(close) = did_you_mean(name, declared).filter(|close| distance(close, name) <= 2) {
                    let hint = format!(
                        "did you mean `{close}`? A new one is declared: `secrets: {{ {name}: {{ generate: 24 }} }}`"
                    );
                    let path = ["postgres", service.as_str(), "users", user, "password"];
                    self.mistake(&path, format!("there is no secret `{name}`")).hint = Some(hint);
                }
            }
        }
    }
}
