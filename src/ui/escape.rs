//! What others may not say to a terminal: control characters are shown, not obeyed.
//!
//! Colours are ours alone. While a text is put together they are written with a word that is made when the program starts and
//! that no one else knows; only when the text is printed do they become what a terminal understands. All other control
//! characters in it, no matter who wrote them, become visible.

use std::sync::OnceLock;

use crate::identity::random_text;

/// The word before a colour, if this machine has random numbers; without them nothing is painted.
fn word() -> Option<&'static str> {
    static WORD: OnceLock<Option<String>> = OnceLock::new();
    WORD.get_or_init(|| random_text(16).ok().map(|word| format!("\u{1b}{word}"))).as_deref()
}

/// A text in a colour, as long as it is not printed.
pub(super) fn painted(color: &str, text: &str) -> String {
    match word() {
        Some(word) => format!("{word}{color}{word};{text}{word}{word};"),
        None => text.to_owned(),
    }
}

/// A text as it may be printed.
pub(super) fn printable(text: &str) -> String {
    let Some(word) = word() else { return visible(text) };
    let mut parts = text.split(word);
    let mut out = visible(parts.next().unwrap_or_default());
    // After each word comes a colour, and after that a word that ends it.
    while let (Some(color), Some(rest)) = (parts.next(), parts.next()) {
        out += if color.is_empty() { "\u{1b}[0m" } else { color };
        out += &visible(rest.strip_prefix(';').unwrap_or(rest));
    }
    out
}

/// A text whose control characters can be seen. Line ends and tabs stay; `\r\n` is a line end.
pub(super) fn visible(text: &str) -> String {
    if !text.chars().any(is_hidden) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            c if !is_hidden(c) => out.push(c),
            c if u32::from(c) < 0x100 => out += &format!("\\x{:02x}", u32::from(c)),
            c => out += &format!("\\u{{{:x}}}", u32::from(c)),
        }
    }
    out
}

/// Whether a terminal obeys a character, or turns the direction of what follows it.
fn is_hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::{painted, printable};

    #[test]
    fn only_our_colours_reach_a_terminal() {
        let text = format!("{} {}\n\tb", painted("\u{1b}[32m", "ok\u{1b}[2J"), "a\u{1b}]0;x\u{7}\u{9b}31m\r\nc\rd");
        assert_eq!(printable(&text), "\u{1b}[32mok\\x1b[2J\u{1b}[0m a\\x1b]0;x\\x07\\x9b31m\nc\\x0dd\n\tb");
        assert_eq!(printable("\u{202e}gpj.exe"), "\\u{202e}gpj.exe");
        assert_eq!(printable("ümlaut ✓"), "ümlaut ✓");
    }
}
