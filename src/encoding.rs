//! Texts as parts of URLs (RFC 3986), bytes as hexadecimal digits. May import nothing of ours.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What no part of a URL may hold as it is (section 2.3): everything but letters, digits and `-._~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same, where a part holds several: slashes may stay.
const RESERVED_IN_PATHS: &AsciiSet = &RESERVED.remove(b'/');
/// What a lenient writer leaves as it is in a path, too.
const RESERVED_LENIENTLY: &AsciiSet = &RESERVED_IN_PATHS.remove(b':').remove(b'@');

/// Bytes as hexadecimal digits, in small letters.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A text as one part of a URL.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A text as a form writes it: a space is a plus sign.
#[must_use]
pub fn encode_form(text: &str) -> String {
    encode(text).replace("%20", "+")
}

/// Every way in which URLs write a text.
#[must_use]
pub fn all_forms(text: &str) -> [String; 4] {
    let by = |reserved| utf8_percent_encode(text, reserved).to_string();
    [encode(text), by(RESERVED_IN_PATHS), by(RESERVED_LENIENTLY), encode_form(text)]
}

/// A part of a URL without its percent signs.
#[must_use]
pub fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::{all_forms, decode, encode};

    #[test]
    fn texts_are_parts_of_urls() {
        let text = "a b/c:d@\u{e9}~-._*";
        assert_eq!(encode(text), "a%20b%2Fc%3Ad%40%C3%A9~-._%2A");
        assert_eq!(
            all_forms(text),
            [
                "a%20b%2Fc%3Ad%40%C3%A9~-._%2A",
                "a%20b/c%3Ad%40%C3%A9~-._%2A",
                "a%20b/c:d@%C3%A9~-._%2A",
                "a+b%2Fc%3Ad%40%C3%A9~-._%2A"
            ]
        );
        assert_eq!(decode(&encode(text)), text);
    }
}
