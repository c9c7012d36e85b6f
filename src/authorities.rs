//! Whose certificates this machine trusts. Part of the vocabulary.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{RootCertStore, pki_types::CertificateDer};

/// Where systems keep the bundle of the authorities that they trust.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

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

/// The authorities that this machine trusts: what `SSL_CERT_FILE` and `SSL_CERT_DIR` name, as for OpenSSL, otherwise the
/// system's bundle. A machine may have none.
fn of_machine() -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "every program with TLS reads its authorities from these")]
    let [file, folders] = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(std::env::var_os);
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    if file.is_none() && folders.is_none() {
        return BUNDLES.iter().find_map(|path| read(Path::new(path))).into_iter().collect();
    }
    let mut found: Vec<String> = file.iter().filter_map(|path| read(Path::new(path))).collect();
    for folder in folders.iter().flat_map(std::env::split_paths) {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        found.extend(entries.filter_map(|entry| read(&entry.path())));
    }
    found
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    pem.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .filter_map(|part| part.split("-----END CERTIFICATE-----").next())
        .filter_map(|body| STANDARD.decode(body.split_whitespace().collect::<String>()).ok())
        .map(CertificateDer::from)
        .collect()
}
