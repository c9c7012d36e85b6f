//! The forms in which a secret may be printed: as it is, and as programs write it into other formats. Letters are searched
//! for in both cases, so that only what a change of case does to other signs has a form of its own.

use std::collections::BTreeSet;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

use super::SHORTEST;
use crate::encoding;

/// Lines of a longer secret that are shorter than this are not searched for by themselves.
const SHORTEST_LINE: usize = 8;
/// What is shorter than this in Base64 or as hexadecimal digits is found in too many other texts.
const SHORTEST_ENCODED: usize = 8;
/// The columns after which programs break lines of Base64.
const BASE64_COLUMNS: [usize; 2] = [76, 64];

/// All forms of a secret.
pub(super) fn forms(secret: &str) -> BTreeSet<String> {
    let whole = secret.trim_matches(['\n', '\r']);
    let mut found = BTreeSet::new();
    if whole.contains('\n') {
        // What makes a secret long is searched for line by line: the whole has fewer forms.
        let unix = whole.replace("\r\n", "\n");
        for text in [unix.clone(), unix.replace('\n', "\r\n")] {
            let json = json(&text);
            found.extend([self::json(&json), json, text]);
        }
        found.extend(base64_forms(&unix));
        found.extend(wrapped_base64(&unix));
        for line in unix.lines().map(str::trim) {
            // The first and last lines of a PEM block are those of every certificate too.
            if line.len() >= SHORTEST_LINE && !line.starts_with("-----") {
                found.extend(escaped(line));
            }
        }
    } else {
        for text in [whole.to_owned(), whole.to_uppercase(), whole.to_lowercase()] {
            found.extend(escaped(&text));
            found.extend(base64_forms(&text));
            let hex = crate::encoding::hex(text.as_bytes());
            found.extend(Some(hex).filter(|hex| hex.len() >= SHORTEST_ENCODED));
        }
    }
    if whole.len() < SHORTEST {
        found.clear();
    }
    found.retain(|form| form.len() >= SHORTEST);
    found
}

/// A text as it is, and as JSON, XML, HTML, URLs, shells, Python and the commands of CI services write it.
fn escaped(text: &str) -> Vec<String> {
    let json = json(text);
    let [part, path, lenient, form] = encoding::all_forms(text);
    vec![
        part,
        path,
        lenient,
        form,
        replaced(text, &[("%", "%25"), ("\r", "%0D"), ("\n", "%0A")]),
        replaced(text, &[("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")]),
        replaced(text, &[("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")]),
        replaced(text, &[("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&apos;"), ("\"", "&quot;")]),
        replaced(text, &[("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#39;"), ("\"", "&#34;")]),
        replaced(text, &[("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#x27;"), ("\"", "&quot;")]),
        replaced(
            text,
            &[("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#x27;"), ("\"", "&quot;"), ("/", "&#x2f;")],
        ),
        text.replace('\'', "'\\''"),
        text.replace('\\', "\\\\").replace('\'', "\\'"),
        json.replace('/', "\\/"),
        replaced(&json, &[("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("'", "\\u0027")]),
        self::json(&ascii(&json)),
        ascii(&json),
        self::json(&json),
        ascii(&self::json(&json)),
        json,
        text.to_owned(),
    ]
}

/// A text within a string of JSON.
fn json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
}

/// JSON of ASCII letters only, as Python writes it.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            text.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}

/// Replaces signs in the order given, so that `&` and `%` come first.
fn replaced(text: &str, signs: &[(&str, &str)]) -> String {
    signs.iter().fold(text.to_owned(), |text, (sign, escape)| text.replace(sign, escape))
}

/// What is seen of a text in Base64, wherever it begins in what was encoded: the letters that depend on nothing around it.
fn base64_forms(text: &str) -> Vec<String> {
    let mut forms = Vec::new();
    for (shift, foreign) in [(0, 0), (1, 2), (2, 3)] {
        let bytes = [vec![0; shift], text.as_bytes().to_vec()].concat();
        let own = bytes.len() / 3 * 4;
        for encoded in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            let form = encoded.get(foreign..own.max(foreign));
            forms.extend(form.filter(|form| form.len() >= SHORTEST_ENCODED).map(str::to_owned));
        }
    }
    // What follows the text is often nothing, or a line break.
    for after in ["", "\n"] {
        forms.push(STANDARD.encode(format!("{text}{after}")));
    }
    forms.retain(|form| form.len() >= SHORTEST_ENCODED);
    forms
}

/// The lines of a file in Base64 that holds the text alone.
fn wrapped_base64(text: &str) -> Vec<String> {
    let mut forms = Vec::new();
    for encoded in [STANDARD.encode(text), STANDARD.encode(format!("{text}\n"))] {
        for columns in BASE64_COLUMNS {
            let mut rest = encoded.as_str();
            while rest.len() > columns {
                let (line, next) = rest.split_at(columns);
                forms.push(line.to_owned());
                rest = next;
            }
            forms.extend(Some(rest).filter(|rest| rest.len() >= SHORTEST_ENCODED).map(str::to_owned));
        }
    }
    forms
}
