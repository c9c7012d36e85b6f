//! What modules put into scripts, beside what everything can ([`crate::remote::Sh`]).

use std::fmt;

use super::{Text, arguments::Number};
pub(super) use crate::remote::sh;
pub use crate::remote::{Sh, Word};

impl Word for Text {
    fn word(&self) -> String {
        self.0.word()
    }
}

impl<T: fmt::Display + Send + Sync> Word for Number<T> {
    fn word(&self) -> String {
        self.0.to_string().word()
    }
}
