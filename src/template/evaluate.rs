//! The values of what the author wrote: templates in texts, expressions and conditions.

use std::sync::Arc;

use minijinja::{machinery, syntax::SyntaxConfig};
use serde_json::{Map, Value};

use super::{
    Authored, Engine, Scope, Var, bounds, chain, condition, depth::Level, emitted, explain, is_template, is_true, lazy,
    render::with_last_newlines, text_of,
};
use crate::error::Result;

impl Engine {
    /// Resolves every template in a value, keeping native types; omitted arguments are gone.
    ///
    /// # Errors
    /// When a template is wrong, or uses a variable that is not defined.
    pub fn resolve(&self, value: &Authored, scope: &Arc<dyn Scope>) -> Result<Value> {
        Ok(self.value(value, scope)?.unwrap_or_default())
    }

    /// Resolves every template in a mapping, its keys too.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_map(
        &self, map: &Authored<Map<String, Value>>, scope: &Arc<dyn Scope>,
    ) -> Result<Map<String, Value>> {
        self.map(map, scope)
    }

    /// Resolves a text: a single expression keeps its type, anything else becomes a text.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_text(&self, text: &Authored<String>, scope: &Arc<dyn Scope>) -> Result<Value> {
        Ok(self.rendered(text, scope)?.unwrap_or_default())
    }

    /// Resolves a text to a text.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn text(&self, text: &Authored<String>, scope: &Arc<dyn Scope>) -> Result<String> {
        Ok(text_of(&self.resolve_text(text, scope)?))
    }

    /// The value of a bare expression, as in `until` or `that`.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn evaluate(&self, expression: &Authored<String>, scope: &Arc<dyn Scope>) -> Result<Value> {
        self.evaluated(expression, scope)
    }

    /// The value of a variable; `None` when there is none.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn variable(&self, name: &str, scope: &Arc<dyn Scope>) -> Result<Option<Value>> {
        match scope.get(name) {
            None => Ok(None),
            Some(Var::Data(value)) => Ok(Some((*value).clone())),
            Some(Var::Template(value)) => self.resolve(&value, scope).map(Some),
            Some(Var::Native(value)) => lazy::to_json(&value).map(Some).map_err(|error| explain(&error, name)),
        }
    }

    /// A value resolved; `None` when it is omitted.
    fn value(&self, value: &Value, scope: &Arc<dyn Scope>) -> Result<Option<Value>> {
        Ok(Some(match value {
            Value::String(text) => return self.rendered(text, scope),
            Value::Array(items) => {
                let mut resolved = Vec::with_capacity(items.len());
                for item in items {
                    resolved.extend(self.value(item, scope)?);
                }
                Value::Array(resolved)
            }
            Value::Object(map) => Value::Object(self.map(map, scope)?),
            other => other.clone(),
        }))
    }

    fn map(&self, map: &Map<String, Value>, scope: &Arc<dyn Scope>) -> Result<Map<String, Value>> {
        let mut resolved = Map::with_capacity(map.len());
        for (key, item) in map {
            let Some(item) = self.value(item, scope)? else { continue };
            let key =
                if is_template(key) { text_of(&self.rendered(key, scope)?.unwrap_or_default()) } else { key.clone() };
            resolved.insert(key, item);
        }
        Ok(resolved)
    }

    fn rendered(&self, text: &str, scope: &Arc<dyn Scope>) -> Result<Option<Value>> {
        if !is_template(text) {
            return Ok(Some(Value::String(text.to_owned())));
        }
        let value = self.native(text, scope).and_then(|value| lazy::finalized(&value));
        value.map_err(|error| explain(&error, text))
    }

    fn evaluated(&self, expression: &str, scope: &Arc<dyn Scope>) -> Result<Value> {
        let value = self.expression(expression, scope).and_then(|value| lazy::to_json(&value));
        value.map_err(|error| explain(&error, expression))
    }

    /// Whether a condition holds: a boolean, an expression, or a list of them that must all hold.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn condition(&self, condition: &Authored, scope: &Arc<dyn Scope>) -> Result<bool> {
        self.holds(condition, scope)
    }

    fn holds(&self, condition: &Value, scope: &Arc<dyn Scope>) -> Result<bool> {
        match condition {
            Value::Bool(flag) => Ok(*flag),
            Value::Null => Ok(true),
            Value::Array(all) => {
                for one in all {
                    if !self.holds(one, scope)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Value::String(text) => {
                let text = text.trim();
                let whole = single_expression(text);
                // A variable may hold the condition, when the author wrote that variable; what a host says is only true
                // or false.
                let _level = Level::enter(text).map_err(|error| explain(&error, text))?;
                if let Some(inner) = condition::authored_text(whole.unwrap_or(text), scope)
                    && (is_template(&inner) || condition::is_expression(&inner))
                {
                    return self.holds(&Value::String(inner.into_inner()), scope);
                }
                if whole.is_some() {
                    return Ok(is_true(&self.rendered(text, scope)?.unwrap_or_default()));
                }
                if text.contains("{%") {
                    return condition::truth(&self.rendered(text, scope)?.unwrap_or_default(), text);
                }
                let expression = condition::without_braces(text)?;
                Ok(is_true(&self.evaluated(&expression, scope)?))
            }
            other => Ok(is_true(other)),
        }
    }

    /// The value of a text with templates. A single expression keeps its type, also one in a block; a text ends with the
    /// line breaks that it is written with.
    pub(super) fn native(&self, text: &str, scope: &Arc<dyn Scope>) -> Result<minijinja::Value, minijinja::Error> {
        let _level = Level::enter(text)?;
        // It becomes longer by them, and what is too long for the parser is refused.
        let text = literal_backslashes(text);
        bounds::check(&text, false)?;
        let value = match single_expression(text.strip_suffix('\n').unwrap_or(&text)) {
            Some(expression) => self.computed(expression, scope)?,
            None => {
                let source = chain::rewrite_template(&text)?;
                let template = self.jinja.template_from_str(&source)?;
                emitted::native(|| template.render(lazy::context(self, scope)))?
            }
        };
        Ok(match value.as_str() {
            Some(result) if text.ends_with('\n') => with_last_newlines(result.to_owned(), &text).into(),
            _ => value,
        })
    }

    fn expression(&self, text: &str, scope: &Arc<dyn Scope>) -> Result<minijinja::Value, minijinja::Error> {
        let _level = Level::enter(text)?;
        bounds::check(text, true)?;
        self.computed(text, scope)
    }

    fn computed(&self, text: &str, scope: &Arc<dyn Scope>) -> Result<minijinja::Value, minijinja::Error> {
        let text = chain::rewrite_expression(text)?;
        self.jinja.compile_expression(&text)?.eval(lazy::context(self, scope))
    }
}

/// In the texts of playbooks a backslash within `{{ }}` is itself, as Ansible has it; in bare expressions and in template
/// files Jinja's own escapes count.
fn literal_backslashes(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    let (mut inside, mut quote, mut before) = (false, None, ' ');
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (inside, quote, c) {
            (false, _, '{') if before == '{' => inside = true,
            (true, None, '}') if before == '}' => inside = false,
            (true, None, '\'' | '"') => quote = Some(c),
            (true, Some(open), _) if c == open => quote = None,
            (true, Some(open), '\\') => {
                out.push_str(r"\\");
                match chars.next() {
                    Some('\\') => out.push_str(r"\\"),
                    // It does not end the text.
                    Some(next) if next == open => out.extend(['\\', next]),
                    next => out.extend(next),
                }
                before = ' ';
                continue;
            }
            _ => {}
        }
        out.push(c);
        before = c;
    }
    out.into()
}

/// The expression of a text that is `{{ expression }}` and nothing else.
pub(super) fn single_expression(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    if bounds::check(text, false).is_err() {
        return None;
    }
    if !inner.contains("}}") {
        return Some(inner.trim_matches('-'));
    }
    // `{{ a }} {{ b }}` also begins and ends so; `{{ '}}' }}` is one expression all the same.
    let parsed = machinery::parse(text, "", SyntaxConfig::default()).ok()?;
    match parsed {
        machinery::ast::Stmt::Template(template) => match template.children.as_slice() {
            [machinery::ast::Stmt::EmitExpr(_)] => Some(inner),
            _ => None,
        },
        _ => None,
    }
}
