//! How a text is written in YAML: `PyYAML`'s analysis of a scalar, and the escapes of double quotes.

use super::{Content, scalar};

/// In which styles a text can be written.
pub(super) struct Analysis {
    pub(super) multiline: bool,
    pub(super) flow_plain: bool,
    pub(super) block_plain: bool,
    pub(super) single_quoted: bool,
    /// Whether a reader would take it for a text without quotes.
    pub(super) is_text: bool,
}

/// A line break of YAML 1.1.
pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

impl Analysis {
    pub(super) fn of(text: &str) -> Self {
        let is_text = matches!(scalar::resolve(text), Content::String(_)) && !scalar::is_other_type(text);
        let chars: Vec<char> = text.chars().collect();
        let white = |c: Option<&char>| c.is_none_or(|c| matches!(c, '\0' | ' ' | '\t' | '\r') || is_break(*c));
        let mut block = text.starts_with("---") || text.starts_with("...");
        let mut flow = block;
        let (mut special, mut around, mut mixed) = (false, false, false);
        for (at, c) in chars.iter().copied().enumerate() {
            let (before, after) = (at.checked_sub(1).map(|before| chars[before]), chars.get(at + 1));
            if at == 0 {
                block |= "#,[]{}&*!|>'\"%@`".contains(c) || ("?:-".contains(c) && white(after));
                flow |= block || "?:".contains(c);
            } else {
                let ends_key = c == ':' && white(after);
                let comment = c == '#' && white(before.as_ref());
                flow |= ",?[]{}:".contains(c) || comment;
                block |= ends_key || comment;
            }
            let printable = c == '\n'
                || matches!(c, ' '..='\u{7e}' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
                    && c != '\u{feff}';
            // Breaks that readers of YAML 1.2 do not know are escaped.
            special |= !printable || (is_break(c) && c != '\n');
            let edge = at == 0 || at + 1 == chars.len();
            around |= edge && (c == ' ' || is_break(c));
            mixed |= before.is_some_and(|before| (before == ' ' && is_break(c)) || (is_break(before) && c == ' '));
        }
        let multiline = text.contains(is_break);
        let plain = !around && !special && !mixed && !multiline && !text.is_empty();
        Self {
            multiline,
            flow_plain: plain && !flow,
            block_plain: plain && !block,
            single_quoted: !special && !mixed,
            is_text: is_text && !text.is_empty(),
        }
    }
}

/// The escape of a character within double quotes, when it needs one.
pub(super) fn escaped(c: char) -> Option<String> {
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        ' '..='\u{7e}' | '\u{a1}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' => return None,
        c if u32::from(c) <= 0xff => return Some(format!("\\x{:02X}", u32::from(c))),
        c if u32::from(c) <= 0xffff => return Some(format!("\\u{:04X}", u32::from(c))),
        c => return Some(format!("\\U{:08X}", u32::from(c))),
    };
    Some(format!("\\{short}"))
}
