//! The secrets of an environment file: where their values come from, and what an apply makes or changes of them.

use std::path::Path;

use crate::{
    config::{self, Environment, SecretSource},
    error::{Diagnostic, Result},
    identity,
    plan::{Action, SecretChange},
    secret::Secret,
    state::{Vault, secret_name},
    yaml::Mark,
};

/// The vault's name for where the value of a secret has come from.
fn origin_of(name: &str) -> String {
    format!("origin/{name}")
}

/// What an apply does about one secret.
struct Decision {
    /// Its new value; `None` keeps the one that the state has.
    value: Option<New>,
    /// Where its value comes from, as the vault keeps it.
    origin: String,
    /// What a plan says of it.
    change: Option<SecretChange>,
}

enum New {
    /// It is given.
    Given(Secret),
    /// It is generated, with this many characters.
    Generated(usize),
}

/// What an apply would make or change of the secrets, and why some of them have no value.
#[must_use]
pub fn review_secrets(environment: &Environment, vault: &Vault) -> (Vec<SecretChange>, Vec<Diagnostic>) {
    let (mut changes, mut mistakes) = (Vec::new(), Vec::new());
    for (name, source) in &environment.secrets {
        match decide(environment, name, source, vault) {
            Ok(decision) => changes.extend(decision.change),
            Err(mistake) => mistakes.push(*mistake),
        }
    }
    (changes, mistakes)
}

/// Makes or reads every secret of the environment: some of them may be passed to the provider. The answer warns of those that are
/// not hidden.
///
/// # Errors
/// When a variable or a file of a secret is missing or empty: all of them are one error.
pub fn prepare_secrets(environment: &Environment, vault: &mut Vault) -> Result<Vec<String>> {
    let (_, mistakes) = review_secrets(environment, vault);
    if !mistakes.is_empty() {
        return Err(config::mistakes(&environment.folder.join("config.yaml"), mistakes));
    }
    let mut warnings = Vec::new();
    for (name, source) in &environment.secrets {
        // What is wrong was said above.
        let Ok(decision) = decide(environment, name, source, vault) else { continue };
        let key = secret_name(name);
        match decision.value {
            None => {}
            Some(New::Given(value)) => vault.put(&key, value),
            Some(New::Generated(length)) => vault.put(&key, Secret::new(identity::random_text(length)?)),
        }
        vault.put_public(&origin_of(name), &decision.origin);
        let weakness = vault.get(&key).filter(|_| !matches!(source, SecretSource::Generate(_)));
        let weakness = weakness.and_then(Secret::weakness);
        warnings.extend(weakness.map(|weakness| format!("the secret `{name}` {weakness}")));
    }
    Ok(warnings)
}

fn decide(
    environment: &Environment, name: &str, source: &SecretSource, vault: &Vault,
) -> Result<Decision, Box<Diagnostic>> {
    let stored = vault.get(&secret_name(name));
    match source {
        SecretSource::Generate(length) => {
            let length = usize::try_from(*length).unwrap_or_default();
            let origin = vault.get(&origin_of(name)).map(Secret::expose);
            Ok(generated(name, length, stored, origin))
        }
        SecretSource::Env(variable) => {
            #[expect(clippy::disallowed_methods, reason = "the file says that this secret is in the environment")]
            let value = std::env::var(variable);
            let why = match value {
                Ok(value) if !value.is_empty() => {
                    return Ok(given(name, Secret::new(value), format!("the variable `{variable}`"), stored));
                }
                Ok(_) => "is empty",
                Err(std::env::VarError::NotPresent) => "is not set",
                Err(std::env::VarError::NotUnicode(_)) => "is not text in UTF-8",
            };
            let message = format!("the secret `{name}` is read from the variable `{variable}`, which {why}");
            Err(Box::new(mistake(environment, name, message).hint(format!("set it: `export {variable}=...`"))))
        }
        SecretSource::File(file) => {
            let path = environment.folder.join(file);
            let why = match read(&path) {
                Ok(value) => return Ok(given(name, value, format!("the file `{file}`"), stored)),
                Err(why) => why,
            };
            let message = format!("the secret `{name}` is read from the file `{}`, which {why}", path.display());
            Err(Box::new(mistake(environment, name, message)))
        }
    }
}

fn mistake(environment: &Environment, name: &str, message: String) -> Diagnostic {
    let place = environment.secret_marks.get(name).map(Mark::location);
    Diagnostic::error(place, message)
}

/// The text of a file without its last line break.
fn read(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("cannot be read: {error}"),
    })?;
    match text.strip_suffix('\n').unwrap_or(&text) {
        "" => Err("is empty".to_owned()),
        value => Ok(Secret::new(value)),
    }
}

/// A value that someone else has chosen.
fn given(name: &str, value: Secret, origin: String, stored: Option<&Secret>) -> Decision {
    let change = match stored {
        Some(known) if *known == value => None,
        Some(_) => Some(change(name, Action::Update, format!("{origin} has another value"))),
        None => Some(change(name, Action::Create, format!("read from {origin}"))),
    };
    Decision { value: Some(New::Given(value)), origin, change }
}

/// A value of ours. One that was given from elsewhere, or has another length, is not what the file asks for.
fn generated(name: &str, length: usize, stored: Option<&Secret>, origin: Option<&str>) -> Decision {
    let kept = Decision { value: None, origin: GENERATED.to_owned(), change: None };
    let (action, reason) = match (stored.map(Secret::expose), origin) {
        (None, _) => (Action::Create, format!("generated, {length} characters")),
        (Some(_), Some(origin)) if origin != GENERATED => {
            (Action::Update, format!("generated, {length} characters: the present value is from {origin}"))
        }
        // Earlier versions did not say where a value has come from.
        (Some(value), None) if !identity::is_random_text(value) => {
            (Action::Update, format!("generated, {length} characters: the present value was not generated"))
        }
        (Some(value), _) if value.len() != length => {
            (Action::Update, format!("generated again, {length} characters: the present value has {}", value.len()))
        }
        (Some(_), _) => return kept,
    };
    Decision { value: Some(New::Generated(length)), change: Some(change(name, action, reason)), ..kept }
}

/// The origin of values that we generate.
const GENERATED: &str = "generated";

fn change(name: &str, action: Action, reason: String) -> SecretChange {
    SecretChange { name: name.to_owned(), action, reason }
}

#[cfg(test)]
mod tests {
    use super::{prepare_secrets, review_secrets};
    use crate::{
        config::{LoadOptions, load_source},
        plan::Action,
        secret::Secret,
        state::Vault,
        yaml::Source,
    };

    struct Project(tempfile::TempDir, Vault);

    impl Project {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap(), Vault::default())
        }

        fn environment(&self, secret: &str) -> crate::config::Environment {
            let text = format!("secrets:\n  token: {secret}\n");
            load_source(&Source::new(self.0.path().join("dev/config.yaml"), text), &LoadOptions::default()).unwrap()
        }

        /// Plans and applies: what the plan says, and the value.
        fn apply(&mut self, secret: &str) -> (Option<(Action, String)>, String) {
            let environment = self.environment(secret);
            let (mut changes, mistakes) = review_secrets(&environment, &self.1);
            assert!(mistakes.is_empty(), "{mistakes:?}");
            prepare_secrets(&environment, &mut self.1).unwrap();
            assert!(review_secrets(&environment, &self.1).0.is_empty(), "a second apply changes nothing");
            let change = changes.pop().map(|change| (change.action, change.reason));
            (change, self.1.get("secret/token").unwrap().expose().to_owned())
        }
    }

    #[test]
    fn a_secret_is_what_its_source_says_and_the_plan_says_when_that_changes() {
        let mut project = Project::new();
        std::fs::create_dir(project.0.path().join("dev")).unwrap();
        let file = project.0.path().join("dev/token.txt");
        let (change, first) = project.apply("{generate: 20}");
        assert_eq!(change, Some((Action::Create, "generated, 20 characters".into())));
        assert_eq!(project.apply("{generate: 20}"), (None, first.clone()));
        let (change, second) = project.apply("{generate: 40}");
        assert_eq!(change.unwrap().1, "generated again, 40 characters: the present value has 20");
        assert!(second.len() == 40 && !second.starts_with(&first));
        std::fs::write(&file, "given\n").unwrap();
        let (change, third) = project.apply("{file: token.txt}");
        assert_eq!((change.unwrap().0, third.as_str()), (Action::Update, "given"));
        std::fs::write(&file, "given-again\n").unwrap();
        let (change, _) = project.apply("{file: token.txt}");
        assert_eq!(change.unwrap().1, "the file `token.txt` has another value");
        // What was given is not taken for a generated one, even with the right length.
        let (change, fourth) = project.apply("{generate: 11}");
        assert_eq!(change.unwrap().1, "generated, 11 characters: the present value is from the file `token.txt`");
        assert_ne!(fourth, "given-again");
    }

    #[test]
    fn the_state_of_an_earlier_version_keeps_what_it_generated() {
        for (value, kept) in [("abcdefghABCDEFGH", true), ("abcdefgh", false), ("", false), ("not-random-text!", false)]
        {
            let mut project = Project::new();
            project.1.put("secret/token", Secret::new(value));
            let (change, now) = project.apply("{generate: 16}");
            assert_eq!((change.is_none(), now == value), (kept, kept), "{value}");
        }
    }

    #[test]
    fn a_secret_without_a_value_is_a_mistake_with_its_place() {
        let project = Project::new();
        std::fs::create_dir(project.0.path().join("dev")).unwrap();
        std::fs::write(project.0.path().join("dev/empty.txt"), "\n").unwrap();
        for (secret, why) in [
            ("{env: INFRA_TEST_THAT_NOTHING_SETS}", "`INFRA_TEST_THAT_NOTHING_SETS`, which is not set"),
            ("{file: nothing.txt}", "which does not exist"),
            ("{file: empty.txt}", "which is empty"),
        ] {
            let environment = project.environment(secret);
            let error = prepare_secrets(&environment, &mut Vault::default()).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(why) && text.contains("config.yaml:2:"), "{text}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
