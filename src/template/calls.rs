//! The lookups that a compiled template calls: those that do not exist, and the files that they name.

use std::collections::BTreeSet;

use minijinja::{
    Value,
    machinery::{Instruction, Instructions},
};

use super::{lookups, names::Lookup};
use crate::error::{Error, did_you_mean};

/// Notes the files that lookups name; one that does not exist is an error at its line.
pub(super) fn lookups(instructions: &Instructions<'_>, files: &mut BTreeSet<Lookup>) -> Result<(), (usize, Error)> {
    let mut at = 0;
    while let Some(instruction) = instructions.get(at) {
        if let Instruction::CallFunction("lookup" | "query" | "q", Some(count)) = instruction
            && let Some(arguments) = arguments(instructions, at, *count)
            && let Some((name, rest)) = arguments.split_first()
            && let Some(name) = name.and_then(Value::as_str)
        {
            let Some(lookup) = lookups::kind(name) else {
                let known = lookups::known();
                let error = Error::usage(format!("there is no lookup `{name}`"));
                let error = match did_you_mean(name, known.iter().copied()) {
                    Some(close) => error.hint(format!("did you mean `{close}`?")),
                    None => error.hint(format!("known: {}", known.join(", "))),
                };
                return Err((instructions.get_line(at).unwrap_or(1), error));
            };
            // An argument that is computed, or that says what happens when there is no file.
            let lenient = rest.iter().any(|argument| {
                argument.is_none_or(|value| {
                    value.is_kwargs() && value.get_attr("errors").is_ok_and(|it| !it.is_undefined())
                })
            });
            if lookup.names_files && !lenient {
                let named = rest.iter().flatten().filter_map(|value| value.as_str());
                files.extend(named.map(|file| Lookup { kind: lookup.name.to_owned(), name: file.to_owned() }));
            }
        }
        at += 1;
    }
    Ok(())
}

/// The arguments of a call: those that are written as such, `None` for those that are computed. `None` when it cannot be seen
/// where they begin.
fn arguments<'a>(instructions: &'a Instructions<'_>, call: u32, count: u16) -> Option<Vec<Option<&'a Value>>> {
    let mut arguments = Vec::new();
    let mut end = call;
    for _ in 0..count {
        let last = end.checked_sub(1)?;
        end = begin(instructions, last)?;
        arguments.push(match instructions.get(last)? {
            Instruction::LoadConst(value) => Some(value),
            _ => None,
        });
    }
    arguments.reverse();
    Some(arguments)
}

/// The first instruction of the expression that ends with this one.
fn begin(instructions: &Instructions<'_>, end: u32) -> Option<u32> {
    let operands = match instructions.get(end)? {
        Instruction::LoadConst(_) | Instruction::Lookup(_) => 0,
        Instruction::GetAttr(_) | Instruction::Neg | Instruction::Not => 1,
        Instruction::GetItem
        | Instruction::Add
        | Instruction::Sub
        | Instruction::Mul
        | Instruction::Div
        | Instruction::IntDiv
        | Instruction::Rem
        | Instruction::Pow
        | Instruction::StringConcat
        | Instruction::In
        | Instruction::Eq
        | Instruction::Ne
        | Instruction::Lt
        | Instruction::Lte
        | Instruction::Gt
        | Instruction::Gte => 2,
        Instruction::Slice => 4,
        Instruction::ApplyFilter(_, Some(count), _)
        | Instruction::PerformTest(_, Some(count), _)
        | Instruction::CallFunction(_, Some(count))
        | Instruction::CallMethod(_, Some(count)) => usize::from(*count),
        Instruction::BuildList(Some(count)) | Instruction::BuildTuple(Some(count)) => *count,
        Instruction::BuildMap(count) | Instruction::BuildKwargs(count) => count * 2,
        _ => return None,
    };
    (0..operands).try_fold(end, |first, _| begin(instructions, first.checked_sub(1)?))
}
