//! What a template prints, so that one which prints a single value gives that value: `{% if x %}{{ list }}{% endif %}` is a
//! list, as Ansible has it.

use std::cell::RefCell;

use minijinja::{Error, ErrorKind, Value, value::ValueKind};

use super::lazy;

thread_local! {
    /// For each template that is being rendered the values that it has printed: none, one, or too many.
    static PRINTED: RefCell<Vec<Printed>> = const { RefCell::new(Vec::new()) };
}

enum Printed {
    Nothing,
    One(Value),
    More,
}

/// Ends the list of a template, also when it fails.
struct Frame;

impl Frame {
    fn begin() -> Self {
        PRINTED.with_borrow_mut(|frames| frames.push(Printed::Nothing));
        Self
    }

    fn take() -> Printed {
        let swap = |frames: &mut Vec<Printed>| frames.last_mut().map(|last| std::mem::replace(last, Printed::Nothing));
        PRINTED.with_borrow_mut(swap).unwrap_or(Printed::Nothing)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        PRINTED.with_borrow_mut(|frames| drop(frames.pop()));
    }
}

/// Notes a value that is printed. Undefined values inside of it are errors, as on their own.
pub(super) fn note(value: &Value) -> Result<(), Error> {
    whole(value)?;
    PRINTED.with_borrow_mut(|frames| {
        if let Some(last) = frames.last_mut() {
            *last = if matches!(last, Printed::Nothing) { Printed::One(value.clone()) } else { Printed::More };
        }
    });
    Ok(())
}

fn whole(value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Seq => value.try_iter()?.try_for_each(|item| inner(&item)),
        ValueKind::Map => value.try_iter()?.try_for_each(|key| inner(&value.get_item(&key)?)),
        _ => Ok(()),
    }
}

fn inner(value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Undefined => Err(Error::new(ErrorKind::UndefinedError, "a value in a list or mapping is undefined")),
        ValueKind::Invalid => Err(lazy::invalid(value)),
        _ => whole(value),
    }
}

/// The text of a template.
pub(super) fn text(render: impl FnOnce() -> Result<String, Error>) -> Result<String, Error> {
    let _frame = Frame::begin();
    render()
}

/// The value of a template: the only one that it prints when that is all it prints, otherwise its text.
pub(super) fn native(render: impl FnOnce() -> Result<String, Error>) -> Result<Value, Error> {
    let _frame = Frame::begin();
    let text = render()?;
    Ok(match Frame::take() {
        Printed::One(value) if value.is_none() && text.is_empty() => value,
        Printed::One(value) if value.as_str().is_none() && value.to_string() == text => value,
        _ => Value::from(text),
    })
}
