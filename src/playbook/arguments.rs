//! Arguments that are written as a text: `src=a dest=b`, or a command with a few of them in it.

use serde_json::{Map, Value};

/// Splits a text into `key=value` pairs and what is left. For a module that takes a text, only its known keys are pairs.
pub(super) fn split_pairs(text: &str, known: &[&str], free_form: bool) -> (Map<String, Value>, Option<String>) {
    let mut pairs = Map::new();
    let mut rest = String::new();
    for (word, raw) in words(text) {
        match word.split_once('=') {
            Some((key, value)) if is_key(key) && (!free_form || known.contains(&key)) => {
                pairs.insert(key.to_owned(), value.to_owned().into());
            }
            _ => rest.push_str(raw),
        }
    }
    let rest = rest.trim();
    (pairs, (!rest.is_empty()).then(|| rest.to_owned()))
}

fn is_key(key: &str) -> bool {
    !key.is_empty()
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !key.starts_with(|c: char| c.is_ascii_digit())
}

/// Words without their quotes, each with its raw text and the space after it. Quotes and `{{ }}` hold a word together.
fn words(text: &str) -> Vec<(String, &str)> {
    let mut words = Vec::new();
    let (mut start, mut word, mut quote, mut depth, mut in_space) = (0, String::new(), None, 0_usize, false);
    let bytes: Vec<(usize, char)> = text.char_indices().collect();
    for (position, (at, c)) in bytes.iter().copied().enumerate() {
        let next = bytes.get(position + 1).map(|(_, c)| *c);
        let previous = position.checked_sub(1).map(|before| bytes[before].1);
        let space = c.is_whitespace() && quote.is_none() && depth == 0;
        if in_space && !space {
            words.push((std::mem::take(&mut word), &text[start..at]));
            start = at;
        }
        in_space = space;
        if space {
            continue;
        }
        match c {
            '{' if matches!(next, Some('{' | '%')) => depth += 1,
            '}' if matches!(previous, Some('}' | '%')) => depth = depth.saturating_sub(1),
            '\'' | '"' if depth == 0 => {
                if quote == Some(c) {
                    quote = None;
                    continue;
                }
                // A quote opens only at the start of a word or of a value.
                if quote.is_none() && (word.is_empty() || word.ends_with('=')) {
                    quote = Some(c);
                    continue;
                }
            }
            _ => {}
        }
        word.push(c);
    }
    if start < text.len() {
        words.push((word, &text[start..]));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::split_pairs;

    #[test]
    fn pairs_and_commands() {
        let (pairs, free) =
            split_pairs("src=a dest='b c' mode={{ x | default('0644') }}", &["src", "dest", "mode"], false);
        assert_eq!(
            serde_json::Value::Object(pairs).to_string(),
            r#"{"src":"a","dest":"b c","mode":"{{ x | default('0644') }}"}"#
        );
        assert_eq!(free, None);
        let (pairs, free) = split_pairs("FOO=bar ./run --x=1 'a  b' creates=/tmp/x | cat", &["creates"], true);
        assert_eq!(pairs["creates"], "/tmp/x");
        assert_eq!(free.unwrap(), "FOO=bar ./run --x=1 'a  b' | cat");
    }
}
