//! `checksum` of `get_url`: a digest, or the address of a list that has it.

use crate::{
    error::{Error, Result},
    modules::Text,
};

/// A checksum that a file must have.
pub(super) struct Checksum {
    pub(super) algorithm: &'static str,
    pub(super) digest: Digest,
}

pub(super) enum Digest {
    Known(String),
    /// In a list at this address.
    At(String),
}

/// The algorithms, with the length of their digests.
const ALGORITHMS: &[(&str, usize)] =
    &[("md5", 32), ("sha1", 40), ("sha224", 56), ("sha256", 64), ("sha384", 96), ("sha512", 128)];

impl Checksum {
    /// The checksum that `checksum` names, or else `sha256sum`.
    pub(super) fn read(checksum: Option<&Text>, sha256sum: Option<&Text>) -> Result<Option<Self>> {
        let given = |text: Option<&Text>| text.map(|text| text.0.trim().to_owned()).filter(|text| !text.is_empty());
        let text = match (given(checksum), given(sha256sum)) {
            (Some(text), _) => text,
            (None, Some(digest)) => format!("sha256:{digest}"),
            (None, None) => return Ok(None),
        };
        let (name, digest) = text.split_once(':').ok_or_else(|| {
            Error::usage(format!("`checksum`: `{text}` is not of the form `sha256:<digest>` or `sha256:<address>`"))
        })?;
        let Some((algorithm, length)) = ALGORITHMS.iter().find(|(known, _)| name.trim().eq_ignore_ascii_case(known))
        else {
            let known: Vec<&str> = ALGORITHMS.iter().map(|(name, _)| *name).collect();
            return Err(Error::usage(format!(
                "`checksum`: there is no algorithm `{name}`; there are {}",
                known.join(", ")
            )));
        };
        let digest = digest.trim();
        if digest.contains("://") {
            return Ok(Some(Self { algorithm, digest: Digest::At(digest.to_owned()) }));
        }
        Ok(Some(Self { algorithm, digest: Digest::Known(checked(digest, *length)?) }))
    }

    fn length(&self) -> usize {
        ALGORITHMS.iter().find(|(name, _)| *name == self.algorithm).map_or(0, |(_, length)| *length)
    }

    /// The digest of a file in the text of a list, as `sha256sum` writes it.
    pub(super) fn find(&self, list: &str, name: &str) -> Result<String> {
        let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
        let of_file = |words: &&Vec<&str>| {
            words.len() == 2
                && words[1].trim_start_matches('*').trim_start_matches("./").rsplit('/').next() == Some(name)
        };
        let line = lines.iter().find(of_file).or_else(|| lines.iter().find(|words| words.len() == 1));
        let digest = line.and_then(|words| words.first());
        checked(
            digest.ok_or_else(|| Error::new(format!("the list of checksums does not name `{name}`")))?,
            self.length(),
        )
    }
}

fn checked(digest: &str, length: usize) -> Result<String> {
    if digest.len() == length && digest.chars().all(|c| c.is_ascii_hexdigit()) {
        Ok(digest.to_ascii_lowercase())
    } else {
        Err(Error::usage(format!("`checksum`: `{digest}` is not a digest of {length} hexadecimal digits")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::get_url::GetUrlArguments;

    #[test]
    fn a_checksum_is_known_or_refused() {
        let of = |text: &str| {
            let named = json!({"url": "http://x/f", "dest": "/f", "checksum": text});
            GetUrlArguments::read(named.as_object().unwrap()).map(|(_, _, checksum)| checksum)
        };
        let md5 = "0".repeat(32);
        assert_eq!(of(&format!("md5:{md5}")).unwrap().unwrap().algorithm, "md5");
        for wrong in ["crc32:1", &md5, "sha256:xyz", &format!("sha256:{md5}"), "sha256:"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        let listed = of("sha1:https://x/sums").unwrap().unwrap();
        let sum = "a".repeat(40);
        assert_eq!(listed.find(&format!("{}  other\n{sum} *./f\n", "b".repeat(40)), "f").unwrap(), sum);
        assert_eq!(listed.find(&sum, "f").unwrap(), sum);
        assert!(listed.find(&format!("{sum}  other\n"), "f").is_err());
    }
}
