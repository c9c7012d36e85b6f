//! `comment`: a text as a comment in a file.

use minijinja::{Value, value::Kwargs};

use super::{Answer, bounded, no_more, text, wrong};

/// Ansible's `comment`: the text with a sign before each line, between a line before and a line after it.
pub(super) fn comment(value: &Value, style: Option<String>, kwargs: Kwargs) -> Answer {
    let style = kwargs.get::<Option<String>>("style")?.or(style).unwrap_or_else(|| "plain".to_owned());
    let (beginning, usual, end) = match style.as_str() {
        "plain" => ("", "# ", ""),
        "erlang" => ("", "% ", ""),
        "c" => ("", "// ", ""),
        "cblock" => ("/*", " * ", " */"),
        "xml" => ("<!--", " - ", "-->"),
        other => return Err(wrong(format!("comment: `{other}` is not a style"))),
    };
    let named = |name: &str, usual: &str| {
        kwargs.get::<Option<String>>(name).map(|text| text.unwrap_or_else(|| usual.to_owned()))
    };
    let count = |name: &str| kwargs.get::<Option<usize>>(name).and_then(|count| bounded(count.unwrap_or(1), name));
    let newline = named("newline", "\n")?;
    let (beginning, end) = (named("beginning", beginning)?, named("end", end)?);
    let decoration = named("decoration", usual)?;
    let (prefix, postfix) = (named("prefix", decoration.trim_end())?, named("postfix", decoration.trim_end())?);
    let (prefixes, postfixes) = (count("prefix_count")?, count("postfix_count")?);
    no_more(&kwargs)?;
    let mut out = if beginning.is_empty() { String::new() } else { format!("{beginning}{newline}") };
    if !prefix.is_empty() {
        let line = if prefix == newline { newline.clone() } else { format!("{prefix}{newline}") };
        out += &line.repeat(prefixes);
    }
    let lines = format!("{decoration}{}", text(value)?.replace(&newline, &format!("{newline}{decoration}")));
    out += &lines.replace(&format!("{decoration}{newline}"), &format!("{}{newline}", decoration.trim_end()));
    out += &format!("{newline}{postfix}").repeat(postfixes);
    if !end.is_empty() {
        out += &format!("{newline}{end}");
    }
    Ok(Value::from(out))
}
