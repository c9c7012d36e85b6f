//! The implicit types of plain scalars: YAML 1.1 as `PyYAML`'s resolver and constructor read them.
//!
//! Source: <https://yaml.org/type/> and `PyYAML`'s `resolver.py`; `y`, `n` and `1e3` are texts there, `0644` is octal.

use serde_json::Number;

use super::Content;

/// The value of a plain (unquoted) scalar.
pub(super) fn resolve(text: &str) -> Content {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Content::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Content::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Content::Bool(false),
        _ => {}
    }
    if let Some(number) = integer(text) {
        return Content::Number(number);
    }
    match float(text).and_then(Number::from_f64) {
        Some(number) => Content::Number(number),
        None => Content::String(text.to_owned()),
    }
}

/// Whether YAML 1.1 has a type for a text that is a text here: a date or a time, an infinite number, a default or a merge key.
pub(super) fn is_other_type(text: &str) -> bool {
    is_timestamp(text) || is_unbounded(text) || matches!(text, "=" | "<<")
}

/// `.inf`, `-.inf`, `.nan`: numbers that JSON, and so a variable of ours, cannot hold.
pub(super) fn is_unbounded(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// A date (`2024-01-02`), or a date and a time.
fn is_timestamp(text: &str) -> bool {
    let digits = |part: &str, least: usize, most: usize| {
        (least..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
    };
    let date = |text: &str, least: usize| {
        let parts: Vec<&str> = text.split('-').collect();
        matches!(parts.as_slice(), [y, m, d] if digits(y, 4, 4) && digits(m, least, 2) && digits(d, least, 2))
    };
    let Some((day, time)) = text.split_once(['T', 't', ' ', '\t']) else { return date(text, 2) };
    let time = time.trim_start_matches([' ', '\t']);
    let (time, zone) = time.find(['Z', '+', '-']).map_or((time, ""), |at| time.split_at(at));
    let zone_fits = match zone.strip_prefix(['+', '-']) {
        None => matches!(zone, "" | "Z"),
        Some(offset) => {
            let (hours, minutes) = offset.split_once(':').unwrap_or((offset, "00"));
            digits(hours, 1, 2) && digits(minutes, 2, 2)
        }
    };
    let time = time.trim_end_matches([' ', '\t']);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let parts: Vec<&str> = clock.split(':').collect();
    let clock_fits = matches!(parts.as_slice(), [h, m, s] if digits(h, 1, 2) && digits(m, 2, 2) && digits(s, 2, 2));
    date(day, 1) && clock_fits && zone_fits && fraction.bytes().all(|b| b.is_ascii_digit())
}

fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let plain = digits.replace('_', "");
    let parse = |digits: &str, radix| i64::from_str_radix(digits, radix).ok();
    let magnitude = if let Some(binary) = plain.strip_prefix("0b") {
        parse(binary, 2)?
    } else if let Some(hex) = plain.strip_prefix("0x") {
        parse(hex, 16)?
    } else if plain.contains(':') {
        sexagesimal(&plain)?
    } else if plain.len() > 1 && plain.starts_with('0') {
        parse(&plain, 8)?
    } else if plain.bytes().all(|b| b.is_ascii_digit()) {
        match plain.parse::<i64>() {
            Ok(number) => number,
            Err(_) if !negative => return plain.parse::<u64>().ok().map(Number::from),
            Err(_) => return None,
        }
    } else {
        return None;
    };
    Some(Number::from(if negative { -magnitude } else { magnitude }))
}

/// `12:30:45`: base 60, each part but the first below 60, the first without a leading zero.
fn sexagesimal(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let first = parts.next()?;
    if first.starts_with('0') || !first.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    parts.try_fold(first.parse::<i64>().ok()?, |total, part| {
        let digits = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        let value = part.parse::<i64>().ok().filter(|value| digits && *value < 60)?;
        total.checked_mul(60)?.checked_add(value)
    })
}

/// A float needs a point, and an exponent needs its sign: `1e3` is a text.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    if text.len() - unsigned.len() > 1 {
        return None;
    }
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.')?;
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let whole_fits = digits(whole) && !whole.starts_with('_') && !(whole.is_empty() && fraction.is_empty());
    let exponent_fits =
        exponent.is_none_or(|e| e.starts_with(['+', '-']) && e.len() > 1 && e[1..].bytes().all(|b| b.is_ascii_digit()));
    if !whole_fits || !digits(fraction) || fraction.starts_with('_') || !exponent_fits {
        return None;
    }
    if whole.is_empty() && exponent.is_some() {
        return None;
    }
    text.replace('_', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Content, resolve};

    fn show(text: &str) -> String {
        match resolve(text) {
            Content::Null => "null".into(),
            Content::Bool(flag) => flag.to_string(),
            Content::Number(number) => number.to_string(),
            Content::String(text) => format!("{text:?}"),
            Content::Sequence(_) | Content::Mapping(_) => unreachable!("a scalar"),
        }
    }

    /// What `PyYAML` 6 answers for the same scalars.
    #[test]
    fn reads_scalars_as_pyyaml_does() {
        for (text, value) in [
            ("yes", "true"),
            ("off", "false"),
            ("y", "\"y\""),
            ("n", "\"n\""),
            ("0644", "420"),
            ("0o644", "\"0o644\""),
            ("08", "\"08\""),
            ("12:30:45", "45045"),
            ("1_000", "1000"),
            ("1e3", "\"1e3\""),
            ("1.0e+3", "1000.0"),
            ("1.10", "1.1"),
            ("", "null"),
            ("~", "null"),
            ("-5", "-5"),
            ("0x1F", "31"),
            ("1.2.3", "\"1.2.3\""),
            ("10.5.0.0/24", "\"10.5.0.0/24\""),
            ("5.", "5.0"),
            (".5", "0.5"),
            (".", "\".\""),
            ("1:90", "\"1:90\""),
            ("-", "\"-\""),
            ("+", "\"+\""),
            ("_1", "\"_1\""),
            ("0", "0"),
            ("00", "0"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(show(text), value, "{text:?}");
        }
    }
}
