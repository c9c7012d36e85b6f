//! `lineinfile`: a file has one line, or has it not.

use fancy_regex::Regex;
use serde::Deserialize;

use super::{
    Arguments, Decision, Flag, Module, Operation, Text,
    attributes::{self, Attributes, Mode, Present, Seen},
    content::NewContent,
    entry, probe_failed,
};
use crate::{
    error::{Error, Result},
    remote::{Output, quote},
    template::expand,
};

pub(super) struct Lineinfile;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineArguments {
    #[serde(alias = "dest", alias = "name", alias = "destfile")]
    path: Text,
    line: Option<Text>,
    #[serde(alias = "regex")]
    regexp: Option<Text>,
    search_string: Option<Text>,
    #[serde(default)]
    state: Presence,
    insertafter: Option<Text>,
    insertbefore: Option<Text>,
    #[serde(default)]
    firstmatch: Flag,
    #[serde(default)]
    backrefs: Flag,
    #[serde(default)]
    create: Flag,
    #[serde(default)]
    backup: Flag,
    validate: Option<Text>,
    mode: Option<Mode>,
    owner: Option<Text>,
    group: Option<Text>,
}

/// Whether something shall be there.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Presence {
    #[default]
    Present,
    Absent,
}

impl Module for Lineinfile {
    fn name(&self) -> &'static str {
        "lineinfile"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &[
            "path",
            "dest",
            "name",
            "destfile",
            "line",
            "regexp",
            "regex",
            "search_string",
            "state",
            "insertafter",
            "insertbefore",
            "firstmatch",
            "backrefs",
            "create",
            "backup",
            "validate",
            "mode",
            "owner",
            "group",
        ]
    }

    fn prepare(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: LineArguments = super::read(task.named)?;
        if arguments.state == Presence::Present && arguments.line.is_none() {
            return Err(Error::usage("`line` is missing: it is the line that shall be there"));
        }
        if arguments.state == Presence::Absent
            && arguments.line.is_none()
            && arguments.regexp.is_none()
            && arguments.search_string.is_none()
        {
            return Err(Error::usage("`state: absent` needs `line` or `regexp`"));
        }
        Ok(Box::new(Edit {
            path: arguments.path.0.clone(),
            create: arguments.create.0,
            backup: arguments.backup.0,
            validate: arguments.validate.as_ref().map(|text| text.0.clone()),
            attributes: Attributes {
                mode: arguments.mode.clone(),
                owner: arguments.owner.as_ref().map(|owner| owner.0.clone()),
                group: arguments.group.as_ref().map(|group| group.0.clone()),
            },
            absent_is_fine: arguments.state == Presence::Absent,
            edit: Box::new(move |text| edit(&arguments, text)),
        }))
    }
}

/// A function from a text to the text that it shall be.
pub(super) type EditText = dyn Fn(&str) -> Result<String> + Send + Sync;

/// An edit of a text file: shared by `lineinfile` and `blockinfile`.
pub(super) struct Edit {
    pub(super) path: String,
    pub(super) create: bool,
    pub(super) backup: bool,
    pub(super) validate: Option<String>,
    pub(super) attributes: Attributes,
    pub(super) absent_is_fine: bool,
    pub(super) edit: Box<EditText>,
}

impl Operation for Edit {
    fn probe(&self) -> Option<String> {
        let path = quote(&self.path);
        Some(format!("{}; [ -f {path} ] && cat {path} || :", attributes::probe(&self.path, true)))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let end = seen.stdout.iter().position(|byte| *byte == b'\n').ok_or_else(|| probe_failed(seen))?;
        let state = attributes::parse(&String::from_utf8_lossy(&seen.stdout[..end]))?;
        let before = String::from_utf8(seen.stdout[end + 1..].to_vec())
            .map_err(|_| Error::new(format!("`{}` is not UTF-8 text", self.path)))?;
        let present: Option<&Present> = match &state {
            Seen::Present(present) if present.is_folder() => {
                return Err(Error::new(format!("`{}` is a folder", self.path)));
            }
            Seen::Present(present) => Some(present),
            Seen::Absent if self.absent_is_fine => return Ok(Decision::unchanged(entry("path", self.path.as_str()))),
            Seen::Absent if !self.create => {
                return Err(Error::new(format!("`{}` does not exist; `create: true` makes it", self.path)));
            }
            Seen::Absent => None,
        };
        let after = (self.edit)(&before)?;
        let result = entry("path", self.path.as_str());
        if after == before && present.is_some() {
            let commands = self.attributes.commands(&self.path, present);
            return Ok(if commands.is_empty() { Decision::unchanged(result) } else { Decision::run(commands, result) });
        }
        let new = NewContent {
            path: &self.path,
            bytes: after.into(),
            attributes: &self.attributes,
            validate: self.validate.as_deref(),
            backup: self.backup,
        };
        Ok(Decision { changed: true, steps: new.steps(present), result, diffs: vec![new.diff()] })
    }
}

/// A pattern that Python's `re` would read.
pub(super) fn pattern(text: &str) -> Result<Regex> {
    Regex::new(text).map_err(|error| Error::usage(format!("`{text}` is not a regular expression: {error}")))
}

fn edit(arguments: &LineArguments, text: &str) -> Result<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let regexp = arguments.regexp.as_ref().map(|text| pattern(&text.0)).transpose()?;
    let matches = |line: &str| match (&regexp, &arguments.search_string) {
        (Some(regexp), _) => regexp.is_match(line).unwrap_or(false),
        (None, Some(part)) => line.contains(part.as_str()),
        (None, None) => false,
    };
    let has_pattern = regexp.is_some() || arguments.search_string.is_some();
    let wanted = arguments.line.as_ref().map(|line| line.0.trim_end_matches('\n').to_owned());
    if arguments.state == Presence::Absent {
        lines.retain(|line| if has_pattern { !matches(line) } else { Some(line) != wanted.as_ref() });
        return Ok(join(&lines));
    }
    let wanted = wanted.unwrap_or_default();
    let mut all = lines.iter().enumerate().filter(|(_, line)| matches(line)).map(|(at, _)| at);
    // The last match is the one that is replaced.
    let found = if arguments.firstmatch.0 { all.next() } else { all.next_back() };
    match found {
        Some(at) => {
            let new = match (&regexp, arguments.backrefs.0) {
                (Some(regexp), true) => {
                    let captures = regexp.captures(&lines[at]).ok().flatten();
                    captures.map_or_else(|| wanted.clone(), |captures| expand(&wanted, &captures))
                }
                _ => wanted,
            };
            lines[at] = new;
        }
        None if arguments.backrefs.0 => {}
        None if lines.contains(&wanted) => {}
        None => {
            let at = insertion(arguments, &lines)?;
            lines.insert(at, wanted);
        }
    }
    // A file without a final line break gets one only when it changes.
    Ok(if join(&lines).trim_end_matches('\n') == text.trim_end_matches('\n') { text.to_owned() } else { join(&lines) })
}

fn insertion(arguments: &LineArguments, lines: &[String]) -> Result<usize> {
    let place = |text: &str| -> Result<Option<usize>> {
        let regexp = pattern(text)?;
        let mut found =
            lines.iter().enumerate().filter(|(_, line)| regexp.is_match(line).unwrap_or(false)).map(|(at, _)| at);
        Ok(if arguments.firstmatch.0 { found.next() } else { found.next_back() })
    };
    Ok(match (&arguments.insertafter, &arguments.insertbefore) {
        (_, Some(before)) if before.as_str() == "BOF" => 0,
        (_, Some(before)) => place(before.as_str())?.unwrap_or(lines.len()),
        (Some(after), None) if after.as_str() != "EOF" => place(after.as_str())?.map_or(lines.len(), |at| at + 1),
        _ => lines.len(),
    })
}

pub(super) fn join(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
