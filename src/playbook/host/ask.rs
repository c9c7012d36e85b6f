//! What actions ask a host: questions that only read, and the one answer that they want.

use super::{HostRun, Place};
use crate::{
    error::Result,
    remote::{Output, ReadOnly, Script, Sh, sh},
};

/// Nothing at all: whether the host answers.
pub(super) fn is_there() -> ReadOnly {
    question(sh!(":"))
}

/// The content of a file.
pub(super) fn content(path: &str) -> ReadOnly {
    question(sh!("cat -- {0}", path))
}

/// `yes` or `no`: whether something is at a path.
pub(super) fn exists(path: &str) -> ReadOnly {
    question(sh!("[ -e {0} ] && echo yes || echo no", path))
}

/// `folder` or `file`: what is, or would be, at a path.
pub(super) fn is_folder(path: &str) -> ReadOnly {
    question(sh!("[ -d {0} ] && echo folder || echo file", path))
}

fn question(text: Sh) -> ReadOnly {
    ReadOnly::of(text)
}

impl HostRun<'_> {
    /// The answer to one question.
    pub(super) async fn ask(&self, place: &Place, question: ReadOnly) -> Result<Output> {
        Ok(self.exec(place, &[Script::probe(question)]).await?.into_iter().next().unwrap_or_default())
    }
}
