//! `lineinfile`: a file has one line, or has it not.

use super::{
    Argument, Arguments, Call, Declared, Exclusive, Flag, Module, Operation, Text,
    arguments::Pattern,
    declaration::arguments,
    edit::{EditArguments, Presence, bare, ending, join, lines},
};
use crate::{
    error::{Error, Result},
    template::expand,
};

pub(super) struct Lineinfile;

arguments! {
    struct LineArguments {
        /// The line.
        line: Option<Text>,
        /// The line that is replaced.
        #[serde(alias = "regex")]
        regexp: Option<Pattern>,
        /// A text in the line that is replaced.
        search_string: Option<Text>,
        /// Where a new line goes: after the last line that matches.
        insertafter: Option<Pattern>,
        /// Where a new line goes: before the last line that matches, or `BOF`.
        insertbefore: Option<Pattern>,
        /// Whether the first line that matches counts, and not the last one.
        #[serde(default)]
        firstmatch: Flag,
        /// Whether `line` has the groups of `regexp` in it; nothing is added then.
        #[serde(default)]
        backrefs: Flag,
        #[serde(flatten)]
        file: EditArguments,
    }
}

impl Call for Lineinfile {
    fn name(&self) -> &'static str {
        "lineinfile"
    }

    fn about(&self) -> &'static str {
        "Makes sure that a line is in a file, or is not."
    }

    fn arguments(&self) -> &'static [Argument] {
        LineArguments::ARGUMENTS
    }

    fn exclusive(&self) -> &'static [Exclusive] {
        &[
            &[&["regexp", "regex"], &["search_string"]],
            &[&["insertafter"], &["insertbefore"]],
            &[&["backrefs"], &["search_string"]],
        ]
    }
}

impl Module for Lineinfile {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: LineArguments = super::read(task.named)?;
        if arguments.file.state == Presence::Present && arguments.line.is_none() {
            return Err(Error::usage("`line` is missing: it is the line that shall be there"));
        }
        if arguments.file.state == Presence::Absent
            && arguments.line.is_none()
            && arguments.regexp.is_none()
            && arguments.search_string.is_none()
        {
            return Err(Error::usage("`state: absent` needs `line` or `regexp`"));
        }
        if arguments.backrefs.0 && arguments.regexp.is_none() {
            return Err(Error::usage("`backrefs` needs `regexp`, whose groups it speaks of"));
        }
        let file = arguments.file.clone();
        Ok(Box::new(file.edit(move |text| edit(&arguments, text))))
    }
}

fn edit(arguments: &LineArguments, text: &str) -> String {
    let end = ending(text);
    let mut lines = lines(text);
    let regexp = arguments.regexp.as_ref();
    let matches = |line: &str| match (regexp, &arguments.search_string) {
        (Some(regexp), _) => regexp.finds(line),
        (None, Some(part)) => line.contains(part.as_str()),
        (None, None) => false,
    };
    let has_pattern = regexp.is_some() || arguments.search_string.is_some();
    let wanted = arguments.line.as_ref().map(|line| line.0.trim_end_matches('\n').to_owned());
    if arguments.file.state == Presence::Absent {
        lines.retain(|line| if has_pattern { !matches(bare(line)) } else { Some(bare(line)) != wanted.as_deref() });
        return join(&lines, text);
    }
    let wanted = wanted.unwrap_or_default();
    let mut all = lines.iter().enumerate().filter(|(_, line)| matches(bare(line))).map(|(at, _)| at);
    // The last match is the one that is replaced.
    let found = if arguments.firstmatch.0 { all.next() } else { all.next_back() };
    match found {
        Some(at) => {
            let new = match (regexp, arguments.backrefs.0) {
                (Some(regexp), true) => {
                    let captures = regexp.captures(bare(&lines[at]));
                    captures.map_or_else(|| wanted.clone(), |captures| expand(&wanted, &captures))
                }
                _ => wanted,
            };
            lines[at] = new + end;
        }
        None if arguments.backrefs.0 => {}
        None if lines.iter().any(|line| bare(line) == wanted) => {}
        None => {
            let at = insertion(arguments, &lines);
            lines.insert(at, wanted + end);
        }
    }
    // A file without a final line break gets one only when it changes.
    join(&lines, text)
}

fn insertion(arguments: &LineArguments, lines: &[String]) -> usize {
    let place = |regexp: &Pattern| {
        let mut found = lines.iter().enumerate().filter(|(_, line)| regexp.finds(bare(line))).map(|(at, _)| at);
        if arguments.firstmatch.0 { found.next() } else { found.next_back() }
    };
    match (&arguments.insertafter, &arguments.insertbefore) {
        (_, Some(before)) if before.as_str() == "BOF" => 0,
        (_, Some(before)) => place(before).unwrap_or(lines.len()),
        (Some(after), None) if after.as_str() != "EOF" => place(after).map_or(lines.len(), |at| at + 1),
        _ => lines.len(),
    }
}
