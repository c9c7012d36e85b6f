//! What is asked of a host beside what modules ask: questions that only read, and the one answer that they want.

use crate::remote::{Output, ReadOnly, sh};

/// Nothing at all: whether the host answers.
pub(super) fn is_there() -> ReadOnly {
    ReadOnly::of(sh!(":"))
}

/// The content of a file.
pub(super) fn content(path: &str) -> ReadOnly {
    ReadOnly::of(sh!("cat -- {0}", path))
}

/// `yes` or `no`: whether something is at a path.
pub(super) fn exists(path: &str) -> ReadOnly {
    ReadOnly::of(sh!("[ -e {0} ] && echo yes || echo no", path))
}

/// `folder` or `file`: what is, or would be, at a path.
pub(super) fn is_folder(path: &str) -> ReadOnly {
    ReadOnly::of(sh!("[ -d {0} ] && echo folder || echo file", path))
}

/// Why a question has no answer.
pub(super) fn unanswered(answer: &Output) -> String {
    answer.failure.clone().unwrap_or_else(|| "the host did not answer what it was asked".to_owned())
}
