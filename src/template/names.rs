//! What a template speaks of, without running it: the variables that it needs, and filters and tests that do not exist.

use std::{collections::BTreeSet, path::Path};

use minijinja::{
    ErrorKind, Template,
    machinery::{Instruction, Instructions, get_compiled_template},
};

use super::{
    Engine, Layout, Named, bounds, explain, explain_file,
    filters::{FILTERS, JINJA_FILTERS},
    header, syntax,
    tests_of_values::{JINJA_TESTS, TESTS},
};
use crate::error::{Error, Result, did_you_mean};

/// What a template speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The variables that it takes from outside, with the attributes that it asks them for: `nginx.front.url`.
    pub variables: BTreeSet<String>,
    /// The variables that it asks for whether they are there, or has something to put in their place.
    pub optional: BTreeSet<String>,
    /// The files that `lookup('file', ...)` and `lookup('template', ...)` name, and need.
    pub files: BTreeSet<Lookup>,
}

/// A lookup of a file whose name is written in the template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lookup {
    /// `file` or `template`.
    pub kind: String,
    /// The file.
    pub name: String,
}

impl Engine {
    /// What a text with templates in it speaks of; nothing, when it has none.
    ///
    /// # Errors
    /// When it does not compile, or uses a filter or a test that does not exist.
    pub fn names(&self, text: &str) -> Result<Names> {
        if !super::is_template(text) {
            return Ok(Names::default());
        }
        bounds::check(text, false).map_err(|error| explain(&error, text))?;
        let template = self.jinja.template_from_str(text).map_err(|error| explain(&error, text))?;
        self.of(&template, text, |_, error| error)
    }

    /// What a bare expression speaks of.
    ///
    /// # Errors
    /// As [`Self::names`].
    pub fn names_of_expression(&self, text: &str) -> Result<Names> {
        self.check_expression(text)?;
        self.names(&format!("{{{{ ({text}) }}}}"))
    }

    /// What a template file speaks of.
    ///
    /// # Errors
    /// As [`Self::names`]; the message names file and line.
    pub fn names_of_file(&self, path: &Path, source: &str) -> Result<Names> {
        let (options, body) = header(source, Layout::default())?;
        let name = path.display().to_string();
        bounds::check(body, false).map_err(|error| explain_file(&error, &name, options.lines))?;
        let mut jinja = (*self.jinja).clone();
        jinja.set_syntax(syntax(options.layout.trim_blocks, options.layout.lstrip_blocks));
        let template =
            jinja.template_from_named_str(&name, body).map_err(|error| explain_file(&error, &name, options.lines))?;
        self.of(&template, body, |line, error| error.at(&format!("{name}:{}", line + options.lines)))
    }

    fn of(&self, template: &Template<'_, '_>, text: &str, place: impl Fn(usize, Error) -> Error) -> Result<Names> {
        let compiled = get_compiled_template(template);
        let mut files = BTreeSet::new();
        for instructions in std::iter::once(&compiled.instructions).chain(compiled.blocks.values()) {
            self.known_calls(instructions).map_err(|(line, error)| place(line, error))?;
            super::calls::lookups(instructions, &mut files).map_err(|(line, error)| place(line, error))?;
        }
        let variables = template.undeclared_variables(true);
        let (optional, needed): (BTreeSet<String>, BTreeSet<String>) =
            variables.into_iter().partition(|name| is_optional(root(name), text));
        let optional = optional.iter().map(|name| root(name).to_owned()).collect();
        Ok(Names { variables: needed, optional, files })
    }

    /// Whether every filter and every test exists.
    fn known_calls(&self, instructions: &Instructions<'_>) -> Result<(), (usize, Error)> {
        let mut at = 0;
        while let Some(instruction) = instructions.get(at) {
            let (what, name, probe, missing) = match instruction {
                Instruction::ApplyFilter(name, ..) => ("filter", *name, format!("''|{name}"), ErrorKind::UnknownFilter),
                Instruction::PerformTest(name, ..) => ("test", *name, format!("'' is {name}"), ErrorKind::UnknownTest),
                _ => {
                    at += 1;
                    continue;
                }
            };
            let tried = self.jinja.compile_expression(&probe).and_then(|expression| expression.eval(()));
            if tried.is_err_and(|error| error.kind() == missing) {
                let error = Error::usage(format!("there is no {what} `{name}`"));
                let close = did_you_mean(name, known(missing == ErrorKind::UnknownTest));
                let error = close.map_or(error.clone(), |close| error.hint(format!("did you mean `{close}`?")));
                return Err((instructions.get_line(at).unwrap_or(1), error));
            }
            at += 1;
        }
        Ok(())
    }
}

/// The names that a misspelt filter, or test, may mean.
fn known(tests: bool) -> Vec<&'static str> {
    let of = |own: &[Named], jinja: &[(&'static str, &str)]| {
        own.iter().map(|one| one.name).chain(jinja.iter().map(|(name, _)| *name)).collect()
    };
    if tests { of(TESTS, JINJA_TESTS) } else { of(FILTERS, JINJA_FILTERS) }
}

/// The variable of a dotted name.
pub(crate) fn root(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// Whether a template asks if a variable is there, or has something to put in its place.
fn is_optional(name: &str, text: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        if text[..at].ends_with(word) {
            return false;
        }
        // The attributes and keys that are asked for.
        let rest = &text[at + name.len()..];
        let mut depth = 0_usize;
        let end = rest.find(|c: char| {
            match c {
                '[' => depth += 1,
                ']' if depth > 0 => depth -= 1,
                c => return !(depth > 0 || word(c) || c == '.'),
            }
            false
        });
        let rest = rest[end.unwrap_or(rest.len())..].trim_start();
        let is = rest.strip_prefix("is ").map(str::trim_start);
        let is = is.map(|rest| rest.strip_prefix("not ").map_or(rest, str::trim_start));
        let tested = is.is_some_and(|rest| rest.starts_with("defined") || rest.starts_with("undefined"));
        let filter = rest.strip_prefix('|').map(str::trim_start).unwrap_or_default();
        tested || filter.starts_with("default") || filter.starts_with("d(") || filter.starts_with("mandatory")
    })
}

#[cfg(test)]
mod tests {
    use super::Engine;

    #[test]
    fn a_template_tells_what_it_needs() {
        let engine = Engine::default();
        let names = |text: &str| engine.names(text).unwrap().variables.into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(names("no template"), "");
        assert_eq!(names("{{ a.b.c }} {% for x in list %}{{ x }}{% endfor %} {% set y = 1 %}{{ y }}"), "a.b.c list");
        assert_eq!(
            names("{{ a | default(b) }} {% if c is defined and c.d %}{{ c.d }}{% endif %}{{ e['k'] | d('') }}"),
            "b"
        );
        assert_eq!(names("{{ aa }}{{ a is not defined }}"), "aa");
        let wrong = |text: &str| engine.names(text).unwrap_err().to_string();
        assert_eq!(wrong("{{ a | lowr }}"), "there is no filter `lowr`");
        assert_eq!(wrong("{{ a is defind }}"), "there is no test `defind`");
        assert!(engine.names_of_expression("a and").is_err());
        assert_eq!(wrong("{{ lookup('fil', x ~ y.z | upper) }}"), "there is no lookup `fil`");
        assert_eq!(wrong("{% for x in query('pipe', 'date') %}{% endfor %}"), "there is no lookup `pipe`");
        assert!(engine.names("lookup('fil') {{ \"lookup('fil')\" }} {# lookup('fil') #}").is_ok());
    }

    #[test]
    fn a_template_tells_which_files_it_looks_up() {
        let engine = Engine::default();
        let files = |text: &str| {
            let files = engine.names(text).unwrap().files.into_iter();
            files.map(|file| format!("{} {}", file.kind, file.name)).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            files("{{ lookup('file', 'a', 'b', rstrip=false) }}{{ query('ansible.builtin.template', 'c') }}"),
            "file a, file b, template c"
        );
        // Those that may be missing, or whose names are not known.
        assert_eq!(
            files("{{ lookup('file', 'a', errors='ignore') }}{{ lookup('file', x) }}{{ lookup('env', 'A') }}"),
            ""
        );
    }
}
