//! Signature Version 4: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use std::collections::BTreeMap;

use ring::{digest, hmac};

use super::credentials::Keys;
use crate::encoding::hex;

/// What of a request is signed.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// The path, as it is sent.
    pub(super) path: &'a str,
    /// The query, encoded and sorted.
    pub(super) query: &'a str,
    /// Names in small letters, and values.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: &'a [u8],
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// As `20150830T123600Z`.
    pub(super) time: &'a str,
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// The value of the `Authorization` header. The headers must hold `host` and `x-amz-date` already.
pub(super) fn authorization(request: &Signed<'_>, keys: &Keys) -> String {
    let names = request.headers.keys().cloned().collect::<Vec<_>>().join(";");
    let headers: String = request.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{names}\n{}",
        request.method,
        request.path,
        request.query,
        sha256(request.body)
    );
    let day = &request.time[..8];
    let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
    let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", request.time, sha256(canonical.as_bytes()));
    let key = keyed(format!("AWS4{}", keys.secret.expose()).as_bytes(), day);
    let key = keyed(&keyed(&keyed(&key, request.region), request.service), "aws4_request");
    let signature = hex(&keyed(&key, &to_sign));
    format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", keys.id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Signed, authorization};
    use crate::{cloud::aws::credentials::Keys, secret::Secret};

    fn keys() -> Keys {
        Keys {
            id: "AKIDEXAMPLE".to_owned(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session: None,
            expires: None,
        }
    }

    /// The vectors `get-vanilla` and `post-x-www-form-urlencoded` of Amazon's test suite for Signature Version 4.
    #[test]
    fn signs_as_the_published_vectors() {
        let mut request = Signed {
            method: "GET",
            path: "/",
            query: "",
            headers: BTreeMap::from([
                ("host".to_owned(), "example.amazonaws.com".to_owned()),
                ("x-amz-date".to_owned(), "20150830T123600Z".to_owned()),
            ]),
            body: b"",
            region: "us-east-1",
            service: "service",
            time: "20150830T123600Z",
        };
        let signature = |request: &Signed<'_>| authorization(request, &keys()).rsplit('=').next().unwrap().to_owned();
        assert_eq!(signature(&request), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
        request.method = "POST";
        request.body = b"Param1=value1";
        request.headers.insert("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
        assert_eq!(signature(&request), "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a");
    }
}
