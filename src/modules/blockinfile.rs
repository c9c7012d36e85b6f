//! `blockinfile`: a file has a block of lines between two marks.

use super::{
    Argument, Arguments, Call, Declared, Exclusive, Module, Operation, Text,
    arguments::Pattern,
    declaration::arguments,
    edit::{EditArguments, Presence, bare, ending, join, lines},
};
use crate::error::Result;

pub(super) struct Blockinfile;

arguments! {
    struct BlockArguments {
        /// The lines. Without any, the block is removed.
        #[serde(alias = "content", default)]
        block: Text,
        /// The lines around the block, with `{mark}` in them.
        marker: Option<Text>,
        /// What `{mark}` is before the block.
        marker_begin: Option<Text>,
        /// What `{mark}` is after the block.
        marker_end: Option<Text>,
        /// Where a new block goes: after the last line that matches.
        insertafter: Option<Pattern>,
        /// Where a new block goes: before the last line that matches, or `BOF`.
        insertbefore: Option<Pattern>,
        #[serde(flatten)]
        file: EditArguments,
    }
}

impl Call for Blockinfile {
    fn name(&self) -> &'static str {
        "blockinfile"
    }

    fn about(&self) -> &'static str {
        "Puts a block of lines between two marker lines of a file, or removes it."
    }

    fn arguments(&self) -> &'static [Argument] {
        BlockArguments::ARGUMENTS
    }

    fn exclusive(&self) -> &'static [Exclusive] {
        &[&[&["insertafter"], &["insertbefore"]]]
    }
}

impl Module for Blockinfile {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: BlockArguments = super::read(task.named)?;
        let file = arguments.file.clone();
        Ok(Box::new(file.edit(move |text| edit(&arguments, text))))
    }
}

fn edit(arguments: &BlockArguments, text: &str) -> String {
    let marker = arguments.marker.as_ref().map_or("# {mark} ANSIBLE MANAGED BLOCK", Text::as_str);
    let mark = |word: &Option<Text>, usual: &str| marker.replace("{mark}", word.as_ref().map_or(usual, Text::as_str));
    let (begin, end) = (mark(&arguments.marker_begin, "BEGIN"), mark(&arguments.marker_end, "END"));
    let ending = ending(text);
    let mut lines = lines(text);
    let present = arguments.file.state == Presence::Present && !arguments.block.0.is_empty();
    let block: Vec<String> = if present {
        let inner = arguments.block.0.trim_end_matches('\n').lines().map(str::to_owned);
        std::iter::once(begin.clone()).chain(inner).chain([end.clone()]).map(|line| line + ending).collect()
    } else {
        Vec::new()
    };
    let first = lines.iter().position(|line| bare(line) == begin);
    let last = lines.iter().position(|line| bare(line) == end);
    match (first, last) {
        (Some(first), Some(last)) if first <= last => drop(lines.splice(first..=last, block)),
        _ if present => {
            let at = insertion(arguments, &lines);
            lines.splice(at..at, block);
        }
        _ => {}
    }
    join(&lines, text)
}

fn insertion(arguments: &BlockArguments, lines: &[String]) -> usize {
    let last = |regexp: &Pattern| lines.iter().rposition(|line| regexp.finds(bare(line)));
    match (&arguments.insertafter, &arguments.insertbefore) {
        (_, Some(before)) if before.as_str() == "BOF" => 0,
        (_, Some(before)) => last(before).unwrap_or(lines.len()),
        (Some(after), None) if after.as_str() != "EOF" => last(after).map_or(lines.len(), |at| at + 1),
        _ => lines.len(),
    }
}
