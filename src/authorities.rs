//! Whose certificates this machine trusts. Part of the vocabulary.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{RootCertStore, pki_types::CertificateDer};

/// Mozilla's authorities, those of this machine, and others in PEM.
#[must_use]
pub fn trusted(others: &[String]) -> RootCertStore {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for pem in of_machine().iter().chain(others) {
        for der in certificates(pem) {
            // One authority that cannot be read is no reason to distrust the others.
            let _ = roots.add(der);
        }
    }
    roots
}

/// The authorities that this machine trusts.
fn of_machine() -> Option<String> {
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    pem.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .filter_map(|part| part.split("-----END CERTIFICATE-----").next())
        .filter_map(|body| STANDARD.decode(body.split_whitespace().collect::<String>()).ok())
        .map(CertificateDer::from)
        .collect()
}
