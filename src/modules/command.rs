//! `command`: runs a program, without a shell in between.

use serde_json::{Map, Value};

use super::{
    Argument, Arguments, Call, CheckMode, Decision, Declared, Exclusive, Flag, Module, Operation, Outcome, Prediction,
    Step, TEXT, Text,
    declaration::arguments,
    probe::Probe,
    script::{Sh, sh},
};
use crate::{
    error::{Error, Result},
    remote::{Locale, Output},
};

/// How many lines are kept: each takes many times the memory of its text.
const LINES: usize = 200_000;

pub(super) struct Command;

arguments! {
    struct CommandArguments {
        /// The command, as the text would be.
        cmd: Option<Text>,
        /// The command, word by word.
        argv: Option<Vec<Text>>,
        /// Whether `$NAME` in a word is a variable of the host.
        #[serde(default)]
        expand_argument_vars: Flag<true>,
        #[serde(flatten)]
        run: RunArguments,
    }
}

arguments! {
    /// What `command` and `shell` take beside the command itself.
    pub(super) struct RunArguments {
        /// The folder in which it runs.
        chdir: Option<Text>,
        /// A path: the command does not run when it exists.
        creates: Option<Text>,
        /// A path: the command does not run when it does not exist.
        removes: Option<Text>,
        /// What the command reads.
        stdin: Option<Text>,
        /// Whether a line break follows it.
        #[serde(default)]
        stdin_add_newline: Flag<true>,
        /// Whether line breaks at the end of the output go.
        #[serde(default)]
        strip_empty_ends: Flag<true>,
    }
}

impl Call for Command {
    fn name(&self) -> &'static str {
        "command"
    }

    fn about(&self) -> &'static str {
        "Runs a program, without a shell in between."
    }

    fn arguments(&self) -> &'static [Argument] {
        CommandArguments::ARGUMENTS
    }

    fn exclusive(&self) -> &'static [Exclusive] {
        &[&[&[TEXT], &["cmd"], &["argv"]]]
    }

    fn free_form(&self) -> bool {
        true
    }

    fn check_mode(&self) -> CheckMode {
        CheckMode::SkipsUnless(&["creates", "removes"])
    }
}

impl Module for Command {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: CommandArguments = super::read(task.named)?;
        let words = match (task.free_form, &arguments.cmd, &arguments.argv) {
            (Some(text), _, _) => split(text)?,
            (None, Some(text), _) => split(text.as_str())?,
            (None, None, Some(words)) => words.iter().map(|word| word.0.clone()).collect(),
            (None, None, None) => return Err(Error::usage("there is no command")),
        };
        if words.is_empty() {
            return Err(Error::usage("the command is empty"));
        }
        let expand = arguments.expand_argument_vars.0;
        let script = words.iter().map(|word| if expand { Sh::expanding(word) } else { sh!("{0}", word) });
        let script = Sh::join(script, " ");
        let shown = Value::Array(words.into_iter().map(Value::String).collect());
        Ok(Run::operation(&arguments.run, &script, shown))
    }
}

/// Splits a command line into words as a shell would, without expanding anything.
pub(super) fn split(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (Some('"'), '\\') if matches!(chars.peek(), Some('"' | '\\')) => {
                word.get_or_insert_default().extend(chars.next());
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(quote) = quote {
        return Err(Error::usage(format!("a `{quote}` in the command is never closed: `{text}`")));
    }
    words.extend(word);
    Ok(words)
}

/// A command on a host.
pub(super) struct Run {
    script: Sh,
    shown: Value,
    creates: Option<String>,
    removes: Option<String>,
    strip: bool,
}

impl Run {
    pub(super) fn operation(arguments: &RunArguments, command: &Sh, shown: Value) -> Box<dyn Operation> {
        let mut lines = Vec::new();
        if let Some(folder) = &arguments.chdir {
            lines.push(sh!("cd -- {0} || exit 1", folder));
        }
        lines.push(match &arguments.stdin {
            Some(text) if arguments.stdin_add_newline.0 && !text.0.ends_with('\n') => {
                sh!("printf '%s\\n' {0} | {1}", text, command.clone())
            }
            Some(text) => sh!("printf %s {0} | {1}", text, command.clone()),
            None => command.clone(),
        });
        let script = Sh::join(lines, "\n");
        Box::new(Self {
            script,
            shown,
            creates: arguments.creates.as_ref().map(|path| path.0.clone()),
            removes: arguments.removes.as_ref().map(|path| path.0.clone()),
            strip: arguments.strip_empty_ends.0,
        })
    }

    fn base(&self) -> Map<String, Value> {
        super::entry("cmd", self.shown.clone())
    }
}

impl Operation for Run {
    fn probe(&self) -> Option<Probe> {
        let creates = self.creates.iter().map(|path| Probe::exists(path, "skip", "run"));
        let removes = self.removes.iter().map(|path| Probe::exists(path, "run", "skip"));
        let tests: Vec<Probe> = creates.chain(removes).collect();
        (!tests.is_empty()).then(|| Probe::all(tests))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        if seen.out().lines().any(|line| line == "skip") {
            let mut result = self.base();
            let path = self.creates.as_ref().or(self.removes.as_ref()).cloned().unwrap_or_default();
            let why = if self.creates.is_some() { "exists" } else { "does not exist" };
            result.extend(output_fields("", "", 0));
            result.insert("stdout".to_owned(), format!("skipped, since {path} {why}").into());
            result.insert("msg".to_owned(), format!("Did not run command since '{path}' {why}").into());
            return Ok(Decision::unchanged(result));
        }
        Ok(Decision {
            changed: true,
            steps: vec![Step::Run(self.script.clone())],
            result: self.base(),
            diffs: Vec::new(),
        })
    }

    fn locale(&self) -> Locale {
        Locale::Machine
    }

    fn predict(&self, decision: Decision) -> Prediction {
        let Decision { changed, mut result, .. } = decision;
        if !changed {
            return Prediction { changed, skipped: false, result };
        }
        // A command that only looks cannot be told from one that changes: it is skipped, as in Ansible, unless `creates` or
        // `removes` says when it changes something.
        let is_known = self.creates.is_some() || self.removes.is_some();
        result.extend(output_fields("", "", 0));
        result.insert("msg".to_owned(), "Command would have run if not in check mode".into());
        Prediction { changed: is_known, skipped: !is_known, result }
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn conclude(&self, decision: Decision, outputs: &[Output]) -> Outcome {
        let mut result = decision.result;
        let Some(output) = outputs.last() else { return Outcome { changed: decision.changed, failure: None, result } };
        let status = output.status.unwrap_or(-1);
        let streams = [&output.stdout, &output.stderr];
        let lines = streams.iter().flat_map(|text| text.iter()).filter(|byte| **byte == b'\n').count();
        if lines > LINES {
            result.insert("rc".to_owned(), status.into());
            let why = format!(
                "it printed {lines} lines, and not more than {LINES} are kept: write them to a file on the machine"
            );
            return Outcome { changed: decision.changed, failure: Some(why), result };
        }
        let (out, err) = (output.out(), output.err());
        let strip =
            |text: &str| if self.strip { text.trim_end_matches(['\n', '\r']).to_owned() } else { text.to_owned() };
        result.extend(output_fields(&strip(&out), &strip(&err), status));
        let failure = (status != 0).then(|| "non-zero return code".to_owned());
        Outcome { changed: decision.changed, failure, result }
    }
}

fn output_fields(stdout: &str, stderr: &str, status: i32) -> Map<String, Value> {
    let lines = |text: &str| Value::Array(text.lines().map(Value::from).collect());
    Map::from_iter([
        ("rc".to_owned(), status.into()),
        ("stdout".to_owned(), stdout.into()),
        ("stdout_lines".to_owned(), lines(stdout)),
        ("stderr".to_owned(), stderr.into()),
        ("stderr_lines".to_owned(), lines(stderr)),
    ])
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(split("a 'b c' \"d \\\" e\" f\\ g ''").unwrap(), ["a", "b c", "d \" e", "f g", ""]);
        assert!(split("a 'b").is_err());
    }
}
