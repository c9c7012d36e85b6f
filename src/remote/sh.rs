//! Shell text in which every value is one quoted word. Scripts of this program are of type [`Sh`], and an `Sh` is made only of
//! literal text and of [`Word`]s, so a value can never become a command, an option of the shell or the end of a text.
//! Operands come after `--`.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::quote;

/// A script, or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sh(String);

/// A value that can be put into a script.
pub trait Word: Send + Sync {
    /// How it is written there.
    fn word(&self) -> String;
}

impl Sh {
    /// Literal text in which `{0}`, `{1}` and so on are replaced by words. Use it through [`sh!`].
    ///
    /// # Panics
    /// When a placeholder has no word: a script with it in would do something else.
    pub(crate) fn of(text: &'static str, words: &[&dyn Word]) -> Self {
        let mut out = String::with_capacity(text.len() + 64);
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            let (before, placeholder) = rest.split_at(at);
            out.push_str(before);
            let number = placeholder[1..].split_once('}');
            if let Some((number, after)) =
                number.and_then(|(number, after)| Some((number.parse::<usize>().ok()?, after)))
            {
                let word = words.get(number);
                assert!(word.is_some(), "`{{{number}}}` of `{text}` has no word");
                out.extend(word.map(Word::word));
                rest = after;
            } else {
                out.push('{');
                rest = &placeholder[1..];
            }
        }
        out.push_str(rest);
        Self(out)
    }

    /// Literal text, as it is.
    pub(crate) fn literal(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// Scripts one after the other, with a text between them.
    pub(crate) fn join(parts: impl IntoIterator<Item = Self>, between: &'static str) -> Self {
        Self(parts.into_iter().map(|part| part.0).collect::<Vec<_>>().join(between))
    }

    /// A word in which `$NAME` and `${NAME}` are replaced, and nothing else: no patterns, no pipes, no commands.
    pub(crate) fn expanding(word: &str) -> Self {
        if !word.contains('$') {
            return Self(quote(word));
        }
        let mut out = String::from("\"");
        let chars: Vec<char> = word.chars().collect();
        for (at, c) in chars.iter().enumerate() {
            if "\"`\\".contains(*c) || (*c == '$' && !names_variable(&chars[at + 1..])) {
                out.push('\\');
            }
            out.push(*c);
        }
        Self(out + "\"")
    }

    /// A path in which `*`, `?`, `[...]` and a `~` at its start are patterns, and nothing else is special.
    pub(crate) fn pattern(path: &str) -> Self {
        let plain = |at: usize, c: char| {
            c.is_ascii_alphanumeric() || "/._-*?[]".contains(c) || (c == '~' && at == 0) || !c.is_ascii()
        };
        let escaped = path.chars().enumerate().map(|(at, c)| match c {
            c if plain(at, c) => c.to_string(),
            // A backslash before a line break would remove both.
            '\n' => "'\n'".to_owned(),
            c => format!("\\{c}"),
        });
        Self(if path.is_empty() { "''".to_owned() } else { escaped.collect() })
    }

    /// A command that prints these bytes.
    pub(crate) fn print(bytes: &[u8]) -> Self {
        Self::of("printf %s {0} | base64 -d", &[&STANDARD.encode(bytes)])
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Whether what follows a `$` is the name of a variable, in braces or not.
fn names_variable(rest: &[char]) -> bool {
    let begins = |c: &char| c.is_ascii_alphabetic() || *c == '_';
    match rest.first() {
        Some('{') => {
            let name: Vec<&char> = rest[1..].iter().take_while(|c| **c != '}').collect();
            name.len() + 1 < rest.len()
                && name.first().is_some_and(|c| begins(c))
                && name.iter().all(|c| c.is_ascii_alphanumeric() || **c == '_')
        }
        Some(c) => begins(c),
        None => false,
    }
}

impl fmt::Display for Sh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Sh> for String {
    fn from(script: Sh) -> Self {
        script.0
    }
}

impl Word for Sh {
    fn word(&self) -> String {
        self.0.clone()
    }
}

impl Word for str {
    fn word(&self) -> String {
        quote(self)
    }
}

impl<T: Word + ?Sized> Word for &T {
    fn word(&self) -> String {
        (*self).word()
    }
}

impl Word for String {
    fn word(&self) -> String {
        quote(self)
    }
}

impl<T: Word> Word for Vec<T> {
    fn word(&self) -> String {
        self.iter().map(Word::word).collect::<Vec<_>>().join(" ")
    }
}

macro_rules! numbers {
    ($($number:ty),+) => {
        $(impl Word for $number {
            fn word(&self) -> String {
                self.to_string()
            }
        })+
    };
}

numbers!(u16, u32, u64);

/// A script of literal text and words: `sh!("rm -f -- {0}", path)`.
macro_rules! sh {
    ($text:literal $(, $word:expr)* $(,)?) => {
        $crate::remote::Sh::of($text, &[$(&$word as &dyn $crate::remote::Word),*])
    };
}

pub(crate) use sh;

#[cfg(test)]
mod tests {
    use super::Sh;

    #[test]
    fn values_are_words() {
        assert_eq!(sh!("rm -- {0} {1}; ${x}", "it's; rm", 5_u32).text(), r"rm -- 'it'\''s; rm' 5; ${x}");
        assert_eq!(sh!("a {0} b {0}", vec!["x y", "z"]).text(), "a 'x y' z b 'x y' z");
        assert_eq!(sh!("find {0} -exec ls {} +", "/a").text(), "find /a -exec ls {} +");
        assert_eq!(sh!("{0}", "{1}").text(), "'{1}'");
    }

    #[test]
    #[should_panic = "`{1}` of `cp -- {0} {1}` has no word"]
    fn a_placeholder_without_a_word_is_no_script() {
        drop(sh!("cp -- {0} {1}", "a"));
    }

    #[test]
    fn only_variables_are_expanded() {
        assert_eq!(Sh::expanding("a*b").text(), "'a*b'");
        assert_eq!(Sh::expanding("$HOME/`x` $5 $(y)").text(), "\"$HOME/\\`x\\` \\$5 \\$(y)\"");
        assert_eq!(Sh::expanding("${A} ${A:-$(id)} ${").text(), "\"${A} \\${A:-\\$(id)} \\${\"");
    }

    #[test]
    fn patterns_hold_no_commands() {
        assert_eq!(Sh::pattern("/a*/$(id) x").text(), r"/a*/\$\(id\)\ x");
    }
}
