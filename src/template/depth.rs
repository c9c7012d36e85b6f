//! How deep and how often templates refer to others. It is counted over everything that one thread evaluates, so that a
//! variable which refers to itself through `hostvars`, `vars` or a template ends like one that does so directly.
//!
//! A value that is computed when it is looked into remembers how deep it was made ([`current`]), and goes on from there when
//! it is looked into later ([`from`]).

use std::cell::Cell;

use minijinja::{Error, ErrorKind};

/// How deep variables and templates may refer to others: what the stack of a thread of tokio (2 MiB) holds, also in a debug
/// build and in an expression that is nested as deeply as `bounds` allows.
const MAX_DEPTH: usize = 40;
/// How many variables and templates one value may take, however often they refer to each other.
const MAX_EVALUATIONS: usize = 500_000;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static EVALUATIONS: Cell<usize> = const { Cell::new(0) };
}

/// One level, until it is dropped.
pub(super) struct Level {
    before: usize,
}

impl Level {
    /// Goes one level down to evaluate this text.
    pub(super) fn enter(text: &str) -> Result<Self, Error> {
        let depth = DEPTH.get();
        let evaluations = if depth == 0 { 1 } else { EVALUATIONS.get() + 1 };
        let wrong = |message: String| Err(Error::new(ErrorKind::InvalidOperation, message));
        let short: String = text.chars().take(200).collect();
        if depth >= MAX_DEPTH {
            return wrong(format!("`{short}` refers to itself, or to variables more than {MAX_DEPTH} deep"));
        }
        if evaluations > MAX_EVALUATIONS {
            return wrong(format!("`{short}` needs more than {MAX_EVALUATIONS} variables: they multiply each other"));
        }
        DEPTH.set(depth + 1);
        EVALUATIONS.set(evaluations);
        Ok(Self { before: depth })
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(self.before);
    }
}

/// How deep this thread is.
pub(super) fn current() -> usize {
    DEPTH.get()
}

/// Looks into a value that was made at a depth.
pub(super) fn from<T>(depth: usize, look: impl FnOnce() -> T) -> T {
    let _level = Level { before: DEPTH.replace(DEPTH.get().max(depth)) };
    look()
}
