//! Whether texts compile, before any variable is known.

use super::{Engine, bounds, condition, explain, is_template};
use crate::error::Result;

impl Engine {
    /// Checks that a text compiles as a template.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self, text: &str) -> Result<()> {
        if !is_template(text) {
            return Ok(());
        }
        let checked = bounds::check(text, false).and_then(|()| self.jinja.template_from_str(text).map(drop));
        checked.map_err(|error| explain(&error, text))
    }

    /// Checks that a text compiles as a condition: an expression, or a template that gives true or false.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_condition(&self, text: &str) -> Result<()> {
        let text = text.trim();
        if is_template(text) && !condition::is_whole(text) {
            return self.check_expression(&condition::without_braces(text)?);
        }
        if is_template(text) { self.check(text) } else { self.check_expression(text) }
    }

    /// Checks that a text compiles as an expression.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_expression(&self, text: &str) -> Result<()> {
        let checked = bounds::check(text, true).and_then(|()| self.jinja.compile_expression(text).map(drop));
        checked.map_err(|error| explain(&error, text))
    }
}
