//! Template files: their layout, and what they become.

use std::{path::Path, sync::Arc};

use super::{Engine, Scope, bounds, chain, depth::Level, emitted, explain_file, lazy, syntax};
use crate::error::{Error, Result};

/// How white space around the blocks of a template file is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Whether the line break after a block goes.
    pub trim_blocks: bool,
    /// Whether the white space before a block goes.
    pub lstrip_blocks: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Self { trim_blocks: true, lstrip_blocks: false }
    }
}

/// The options of a template file's `#jinja2:` line, and how many lines that line takes.
pub(super) struct Header {
    pub(super) layout: Layout,
    pub(super) lines: usize,
}

pub(super) fn header(source: &str, layout: Layout) -> Result<(Header, &str)> {
    let Some(rest) = source.strip_prefix("#jinja2:") else { return Ok((Header { layout, lines: 0 }, source)) };
    let (line, body) = rest.split_once('\n').unwrap_or((rest, ""));
    let mut options = Header { layout, lines: 1 };
    for pair in line.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once(':').unwrap_or((pair, ""));
        let on = value.trim().eq_ignore_ascii_case("true");
        match name.trim() {
            "trim_blocks" => options.layout.trim_blocks = on,
            "lstrip_blocks" => options.layout.lstrip_blocks = on,
            // The last line break of a file is kept in any case.
            "keep_trailing_newline" if on => {}
            other => return Err(Error::usage(format!("`#jinja2:` has `{other}`, which is not supported"))),
        }
    }
    Ok((options, body))
}

impl Engine {
    /// Renders a template file.
    ///
    /// # Errors
    /// When the template is wrong, or uses a variable that is not defined; the message names file and line.
    pub fn render_file(&self, path: &Path, source: &str, scope: &Arc<dyn Scope>) -> Result<String> {
        self.render_file_in(path, source, Layout::default(), scope)
    }

    /// Renders a template file that is read in a layout, as far as the file itself does not name another one.
    ///
    /// # Errors
    /// As [`Self::render_file`].
    pub fn render_file_in(&self, path: &Path, source: &str, layout: Layout, scope: &Arc<dyn Scope>) -> Result<String> {
        let name = path.display().to_string();
        let (options, body) = header(source, layout).map_err(|error| error.context(format!("in `{name}`")))?;
        let explain = |error: minijinja::Error| explain_file(&error, &name, options.lines);
        let _level = Level::enter(&name).map_err(explain)?;
        bounds::check(body, false).map_err(explain)?;
        let text = chain::rewrite_template(body).map_err(explain)?;
        let mut jinja = (*self.jinja).clone();
        jinja.set_syntax(syntax(options.layout.trim_blocks, options.layout.lstrip_blocks));
        let mut lookups = scope.lookups();
        // What a template includes may lie beside it.
        lookups.templates.extend(path.parent().map(Path::to_owned));
        jinja.set_path_join_callback(|name, _| name.into());
        jinja.set_loader(move |name| {
            let Some(text) = lookups.read_template(name) else { return Ok(None) };
            bounds::check(&text, false)?;
            chain::rewrite_template(&text).map(Some)
        });
        let context = lazy::context(self, scope);
        let template = jinja.template_from_named_str(&name, &text).map_err(explain)?;
        let rendered = emitted::text(|| template.render(context)).map_err(explain)?;
        Ok(with_last_newlines(rendered, body))
    }
}

/// Jinja takes one line break from the end of a template; Ansible adds those that the result lacks then.
pub(super) fn with_last_newlines(mut result: String, source: &str) -> String {
    let count = |text: &str| text.len() - text.trim_end_matches('\n').len();
    let missing = count(source).saturating_sub(count(&result));
    result.extend(std::iter::repeat_n('\n', missing));
    result
}
