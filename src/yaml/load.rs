//! From parser events to [`Node`]s: anchors, merge keys, tags, duplicate keys.

use std::{collections::HashMap, path::Path, sync::Arc};

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::{Content, Key, Mark, Node, Source, scalar};
use crate::error::{Context, Diagnostic, Error, Location, Result};

/// How deep a tree may nest: deeper input is refused rather than overflowing the stack.
pub const MAX_DEPTH: usize = 64;
/// How many nodes aliases may unfold to: a file cannot exhaust memory ("billion laughs").
const MAX_NODES: usize = 1_000_000;

/// Reads a file as UTF-8 text.
///
/// # Errors
/// When the file cannot be read; a usage error with the place of the first byte that is not UTF-8.
pub fn read(path: &Path) -> Result<Arc<Source>> {
    let bytes = std::fs::read(path).context(|| format!("cannot read `{}`", path.display()))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source::new(path, text)),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let byte = error.as_bytes()[valid.len()];
            let source = Source::new(path, String::from_utf8_lossy(valid).into_owned());
            let line = valid.split(|byte| *byte == b'\n').count();
            let column = source.line(line).chars().count() + 1;
            let message = format!("the byte 0x{byte:02x} is not UTF-8");
            let diagnostic = Diagnostic::error(mark(&source, line, column, 1).location(), message)
                .hint("save the file as UTF-8 without a byte order mark");
            Err(Error::from_diagnostics(format!("`{}` is not a UTF-8 text", path.display()), vec![diagnostic]))
        }
    }
}

/// Parses one document; an empty file is a null node. Duplicate keys are diagnostics beside the tree.
///
/// # Errors
/// A usage error that points at the first place that is not YAML.
pub fn parse(source: &Arc<Source>) -> Result<(Node, Vec<Diagnostic>)> {
    let (mut documents, duplicates) = load_documents(source)?;
    if documents.len() > 1 {
        let second = documents[1].mark.location();
        return Err(Error::from_diagnostics(
            format!("`{}` holds more than one document", source.file.display()),
            vec![Diagnostic::error(second, "a second document begins here").hint("remove the `---` before it")],
        ));
    }
    let empty = || Node { content: Content::Null, mark: mark(source, 1, 1, 1) };
    Ok((documents.pop().unwrap_or_else(empty), duplicates))
}

/// Parses all documents of a file.
///
/// # Errors
/// As [`parse`].
pub fn load_documents(source: &Arc<Source>) -> Result<(Vec<Node>, Vec<Diagnostic>)> {
    let mut loader = Loader {
        source,
        parser: Parser::new_from_str(source.text()),
        anchors: HashMap::new(),
        duplicates: Vec::new(),
        nodes: 0,
    };
    let mut documents = Vec::new();
    loop {
        match loader.next()? {
            (Event::StreamEnd, _) => return Ok((documents, loader.duplicates)),
            (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
            (event, span) => documents.push(loader.node(event, span, 0)?),
        }
    }
}

fn mark(source: &Arc<Source>, line: usize, column: usize, width: usize) -> Mark {
    Mark { source: Arc::clone(source), line, column, width }
}

struct Loader<'a, I> {
    source: &'a Arc<Source>,
    parser: I,
    anchors: HashMap<usize, Node>,
    duplicates: Vec<Diagnostic>,
    nodes: usize,
}

impl<'a, I> Loader<'a, I>
where
    I: Iterator<Item = Result<(Event<'a>, Span), granit_parser::ScanError>>,
{
    fn next(&mut self) -> Result<(Event<'a>, Span)> {
        loop {
            match self.parser.next() {
                None => return Ok((Event::StreamEnd, Span::default())),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(pair)) => return Ok(pair),
                Some(Err(error)) => {
                    let at = mark(self.source, error.marker().line().max(1), error.marker().col() + 1, 1);
                    return Err(self.refuse(at.location(), error.info()));
                }
            }
        }
    }

    fn refuse(&self, location: Location, message: String) -> Error {
        // What a parser says of a tab is about the line before it, and in its own words.
        let tab = |line: &&str| line.trim_start_matches(' ').starts_with('\t');
        let tabbed = self.source.text().lines().enumerate().skip(location.line.saturating_sub(1)).take(2);
        let tabbed = tabbed.into_iter().find(|(_, line)| tab(line));
        if let (true, Some((number, line))) = (message.contains("tab"), tabbed) {
            let column = line.find('\t').unwrap_or(0) + 1;
            let place = mark(self.source, number + 1, column, 1).location();
            let diagnostic = Diagnostic::error(place, "a tab indents this line").hint("YAML wants spaces");
            return Error::from_diagnostics(
                format!("`{}` is not valid YAML", self.source.file.display()),
                vec![diagnostic],
            );
        }
        let mut diagnostic = Diagnostic::error(location, message);
        if diagnostic.location.as_ref().is_some_and(|l| l.text.contains(": {{")) {
            diagnostic = diagnostic.hint("quote a value that begins with a template: `key: \"{{ value }}\"`");
        }
        Error::from_diagnostics(format!("`{}` is not valid YAML", self.source.file.display()), vec![diagnostic])
    }

    fn mark(&self, span: Span) -> Mark {
        let width =
            if span.start.line() == span.end.line() { span.end.col().saturating_sub(span.start.col()) } else { 1 };
        mark(self.source, span.start.line().max(1), span.start.col() + 1, width.max(1))
    }

    fn count(&mut self, more: usize, mark: &Mark) -> Result<()> {
        self.nodes += more;
        if self.nodes > MAX_NODES {
            return Err(self.refuse(mark.location(), format!("more than {MAX_NODES} nodes after aliases are unfolded")));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node> {
        let mark = self.mark(span);
        self.count(1, &mark)?;
        if depth > MAX_DEPTH {
            return Err(self.refuse(mark.location(), format!("nested more than {MAX_DEPTH} levels deep")));
        }
        let (content, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| tag.to_string());
                (self.scalar(&text, style, tag.as_deref(), span, &mark)?, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(depth)?, anchor),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.refuse(mark.location(), "an alias inside its own anchor".to_owned()));
                };
                self.count(size(&node), &mark)?;
                return Ok(node);
            }
            other => return Err(self.refuse(mark.location(), format!("unexpected {other:?}"))),
        };
        let node = Node { content, mark };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&str>, span: Span, mark: &Mark) -> Result<Content> {
        match tag.map(|tag| tag.trim_start_matches("tag:yaml.org,2002:").trim_start_matches('!')) {
            Some("vault") => {
                return Err(self.refuse(mark.location(), "`!vault` values are not supported yet".to_owned()));
            }
            // A template that gives this very text, so that it is never read as one itself.
            Some("unsafe") if ["{{", "{%", "{#"].iter().any(|sign| text.contains(sign)) => {
                let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
                return Ok(Content::String(format!("{{{{ '{encoded}' | b64decode }}}}")));
            }
            Some("str" | "unsafe") => return Ok(Content::String(text.to_owned())),
            _ => {}
        }
        if style == ScalarStyle::Plain {
            if scalar::is_unbounded(text) {
                let message =
                    format!("`{text}` is a number that has no end, which no variable can hold; in quotes it is a text");
                return Err(self.refuse(mark.location(), message));
            }
            return Ok(scalar::resolve(text));
        }
        let mut text = text.to_owned();
        // YAML 1.2 keeps one line break after a clipped block scalar at the end of a file that has none; PyYAML, like
        // libyaml, does not invent it.
        let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        let at_end = span.end.byte_offset().is_some_and(|end| end >= self.source.text().len());
        if block && at_end && !self.source.text().ends_with('\n') && text.ends_with('\n') {
            text.pop();
        }
        Ok(Content::String(text))
    }

    fn sequence(&mut self, depth: usize) -> Result<Content> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Content::Sequence(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Content> {
        let mut entries = Entries::default();
        let mut merged = Entries::default();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => break,
                (event, span) => self.node(event, span, depth + 1)?,
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            let name = self.key_name(&key)?;
            if name == "<<" {
                self.merge(&value, &mut merged)?;
                continue;
            }
            let key = Key { name, mark: key.mark };
            if let Some(first) = entries.get(&key.name) {
                let message = format!("duplicate key `{}`; the first one is on line {}", key.name, first.mark.line);
                self.duplicates.push(Diagnostic::error(key.mark.location(), message).hint("remove one of them"));
            }
            entries.set(key, value);
        }
        // As in PyYAML, what was merged comes first, with the mapping's own values in its place.
        for (key, value) in entries.list {
            merged.set(key, value);
        }
        Ok(Content::Mapping(merged.list))
    }

    /// `<<: *anchor` or a list of anchors; keys of the mapping itself win, then earlier anchors.
    fn merge(&self, value: &Node, merged: &mut Entries) -> Result<()> {
        match &value.content {
            Content::Mapping(entries) => {
                for (key, node) in entries {
                    if merged.get(&key.name).is_none() {
                        merged.set(key.clone(), node.clone());
                    }
                }
                Ok(())
            }
            Content::Sequence(items) => items.iter().try_for_each(|item| self.merge(item, merged)),
            _ => Err(self.refuse(value.mark.location(), "`<<` merges mappings only".to_owned())),
        }
    }

    fn key_name(&self, key: &Node) -> Result<String> {
        Ok(match &key.content {
            Content::String(text) => text.clone(),
            Content::Number(number) => number.to_string(),
            Content::Bool(flag) => if *flag { "True" } else { "False" }.to_owned(),
            Content::Null => "None".to_owned(),
            Content::Sequence(_) | Content::Mapping(_) => {
                let location = key.mark.location();
                let message = format!("a key must be a single value, this is {}", key.kind());
                return Err(self.refuse(location, message));
            }
        })
    }
}

/// The entries of a mapping in their order, found by name.
#[derive(Default)]
struct Entries {
    list: Vec<(Key, Node)>,
    places: HashMap<String, usize>,
}

impl Entries {
    fn get(&self, name: &str) -> Option<&Key> {
        self.places.get(name).map(|place| &self.list[*place].0)
    }

    /// Adds an entry, or replaces the one of its name where it is.
    fn set(&mut self, key: Key, value: Node) {
        match self.places.get(&key.name) {
            Some(place) => self.list[*place] = (key, value),
            None => {
                self.places.insert(key.name.clone(), self.list.len());
                self.list.push((key, value));
            }
        }
    }
}

fn size(node: &Node) -> usize {
    match &node.content {
        Content::Sequence(items) => items.iter().map(size).sum::<usize>() + 1,
        Content::Mapping(entries) => entries.iter().map(|(_, node)| size(node)).sum::<usize>() + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, parse};

    fn json(text: &str) -> String {
        parse(&Source::new("t.yaml", text)).unwrap().0.to_value().to_string()
    }

    #[test]
    fn anchors_merge_and_order() {
        let text = "base: &b {x: 1, y: 2}\nz: {<<: *b, y: 3}\non: [yes, 'yes']\n";
        assert_eq!(json(text), r#"{"base":{"x":1,"y":2},"z":{"x":1,"y":3},"True":[true,"yes"]}"#);
    }

    #[test]
    fn a_clipped_block_at_the_end_of_the_file_gains_no_line_break() {
        assert_eq!(json("a: |\n  x\n  y"), r#"{"a":"x\ny"}"#);
        assert_eq!(json("a: |\n  x\n"), r#"{"a":"x\n"}"#);
    }

    #[test]
    fn the_last_of_two_keys_wins_and_is_reported() {
        let (node, duplicates) = parse(&Source::new("t.yaml", "a: 1\nb: 2\na: 3\n")).unwrap();
        assert_eq!(node.to_value().to_string(), r#"{"a":3,"b":2}"#);
        assert_eq!(duplicates[0].location.as_ref().unwrap().line, 3);
    }

    #[test]
    fn a_file_that_is_not_utf_8_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.yaml");
        std::fs::write(&path, b"a: 1\nb: caf\xe9\n").unwrap();
        let error = super::read(&path).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let place = error.diagnostics()[0].location.as_ref().unwrap();
        assert_eq!((place.line, place.column, place.text.as_str()), (2, 7, "b: caf"), "{error}");
    }

    #[test]
    fn points_at_what_is_not_yaml() {
        let error = parse(&Source::new("t.yaml", "a:\n  - b\n c: d\n")).unwrap_err();
        assert_eq!(error.diagnostics()[0].location.as_ref().unwrap().line, 3, "{error}");
    }

    #[test]
    fn refuses_to_unfold_without_end() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..9 {
            let inner = vec![format!("*a{}", n - 1); 10].join(", ");
            text += &format!("a{n}: &a{n} [{inner}]\n");
        }
        assert!(parse(&Source::new("t.yaml", text)).unwrap_err().to_string().contains("aliases"));
        assert!(parse(&Source::new("t.yaml", "[".repeat(5000))).is_err());
    }
}
