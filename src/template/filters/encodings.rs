//! Quotes for a shell, Base64 and digests.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use minijinja::{Error, Value};
use sha1::Digest;

use super::{Answer, text, wrong};
use crate::encoding::hex;

pub(super) fn quote(value: &Value) -> Result<String, Error> {
    text(value).map(|text| shell_quote(&text))
}

/// A text as one word of a POSIX shell, as Python's `shlex.quote` writes it.
pub(crate) fn shell_quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r#"'"'"'"#))
    }
}

pub(super) fn b64encode(value: &Value) -> Result<String, Error> {
    text(value).map(|text| STANDARD.encode(text))
}

pub(super) fn b64decode(value: &Value) -> Answer {
    let bytes = STANDARD.decode(text(value)?.trim()).map_err(|error| wrong(format!("not base64: {error}")))?;
    String::from_utf8(bytes).map(Value::from).map_err(|_| wrong("b64decode: not UTF-8 text"))
}

pub(super) fn hash(value: &Value, algorithm: Option<String>) -> Answer {
    let text = text(value)?;
    let algorithm = algorithm.as_deref().unwrap_or("sha1");
    let sum = checksum_of(algorithm, text.as_bytes());
    sum.map(Value::from).ok_or_else(|| {
        wrong(format!("hash: `{algorithm}` is not known; use md5, sha1, sha224, sha256, sha384 or sha512"))
    })
}

/// The checksum of bytes in hexadecimal; `None` for an algorithm that we do not have.
fn checksum_of(algorithm: &str, bytes: &[u8]) -> Option<String> {
    Some(match algorithm {
        "md5" => hex(&md5::Md5::digest(bytes)),
        "sha1" => hex(&sha1::Sha1::digest(bytes)),
        "sha224" => hex(&sha2::Sha224::digest(bytes)),
        "sha256" => hex(&sha2::Sha256::digest(bytes)),
        "sha384" => hex(&sha2::Sha384::digest(bytes)),
        "sha512" => hex(&sha2::Sha512::digest(bytes)),
        _ => return None,
    })
}

pub(super) fn checksum(value: &Value) -> Answer {
    hash(value, None)
}
