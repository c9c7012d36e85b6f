//! Generates what an environment proves itself with: SSH keys, passwords, tokens, and a certificate authority of its own.
//! Pure but for the machine's random numbers. May import the vocabulary only.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use russh::keys::ssh_key::{
    LineEnding, PrivateKey,
    private::{Ed25519Keypair, KeypairData},
};

use crate::{
    error::{Context, Error, Result},
    secret::Secret,
};

/// Letters and digits that no one mistakes for another one, and that need no quoting anywhere.
const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// How long an authority is valid.
pub const CA_YEARS: i32 = 10;
/// How long a server certificate is valid.
const CERTIFICATE_YEARS: i32 = 2;

/// A key pair in OpenSSH's formats.
#[derive(Clone, Debug)]
pub struct SshKey {
    /// The private key.
    pub private: Secret,
    /// The public key, one line.
    pub public: String,
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::new(format!("no random numbers: {error}")))?;
    Ok(bytes)
}

/// A random text of letters and digits, some 5.8 bits a character.
///
/// # Errors
/// When the machine has no random numbers.
pub fn random_text(length: usize) -> Result<String> {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        for byte in random::<64>()? {
            // Bytes above the last whole multiple of the alphabet would make its first letters likelier.
            let index = usize::from(byte);
            if index < 256 / ALPHABET.len() * ALPHABET.len() && text.len() < length {
                text.push(char::from(ALPHABET[index % ALPHABET.len()]));
            }
        }
    }
    Ok(text)
}

/// Whether a text may be one of [`random_text`].
#[must_use]
pub fn is_random_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| ALPHABET.contains(&byte))
}

/// A new ed25519 key pair.
///
/// # Errors
/// When the machine has no random numbers.
pub fn ssh_key(comment: &str) -> Result<SshKey> {
    let pair = Ed25519Keypair::from_seed(&random::<32>()?);
    let wrong = |error: russh::keys::ssh_key::Error| Error::new(format!("cannot make an SSH key: {error}"));
    let key = PrivateKey::new(KeypairData::Ed25519(pair), comment).map_err(wrong)?;
    let private = key.to_openssh(LineEnding::LF).map_err(wrong)?;
    let public = key.public_key().to_openssh().map_err(wrong)?;
    Ok(SshKey { private: Secret::new(private.as_str()), public })
}

/// A certificate and its private key, in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: Secret,
}

fn authority_params(name: &str, year: i32) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // From the first of January on, so that clocks that lag a little accept it too.
    params.not_before = rcgen::date_time_ymd(year, 1, 1);
    params.not_after = rcgen::date_time_ymd(year + CA_YEARS, 1, 1);
    Ok(params)
}

/// A new certificate authority, valid from the beginning of a year on.
///
/// # Errors
/// When the machine has no random numbers.
pub fn authority(name: &str, year: i32) -> Result<Certificate> {
    self_signed(name, year, &KeyPair::generate()?)
}

/// The certificate of an authority for another span of years. Name and key stay: whoever trusts the earlier certificate still
/// accepts what the authority signs, until that certificate ends.
///
/// # Errors
/// When its key cannot be read.
pub fn renewed_authority(name: &str, year: i32, known: &Certificate) -> Result<Certificate> {
    self_signed(name, year, &authority_key(known)?)
}

fn self_signed(name: &str, year: i32, key: &KeyPair) -> Result<Certificate> {
    let certificate = authority_params(name, year)?.self_signed(key)?;
    Ok(Certificate { certificate: certificate.pem(), key: Secret::new(key.serialize_pem()) })
}

fn authority_key(authority: &Certificate) -> Result<KeyPair> {
    KeyPair::from_pem(authority.key.expose()).context(|| "the authority's key cannot be read")
}

/// A new server certificate for host names and addresses, valid from the beginning of a year on, signed by an authority of this
/// name.
///
/// # Errors
/// When a name cannot be in a certificate, or the authority's key cannot be read.
pub fn server_certificate(
    authority_name: &str, authority: &Certificate, names: &[String], year: i32,
) -> Result<Certificate> {
    let issuer = Issuer::new(authority_params(authority_name, year)?, authority_key(authority)?);
    let mut params = CertificateParams::new(Vec::new())?;
    for name in names {
        let entry = match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => {
                SanType::DnsName(name.clone().try_into().context(|| format!("`{name}` cannot be in a certificate"))?)
            }
        };
        params.subject_alt_names.push(entry);
    }
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("localhost", String::as_str));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = rcgen::date_time_ymd(year, 1, 1);
    params.not_after = rcgen::date_time_ymd(year + CERTIFICATE_YEARS, 1, 1);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Certificate { certificate: certificate.pem(), key: Secret::new(key.serialize_pem()) })
}

#[cfg(test)]
mod tests {
    use super::{authority, random_text, server_certificate, ssh_key};

    #[test]
    fn keys_and_texts_are_fresh() {
        let (a, b) = (ssh_key("x").unwrap(), ssh_key("x").unwrap());
        assert_ne!(a.public, b.public);
        assert!(a.public.starts_with("ssh-ed25519 ") && a.private.expose().contains("OPENSSH PRIVATE KEY"));
        assert_eq!(random_text(24).unwrap().len(), 24);
    }

    #[test]
    fn a_certificate_is_signed_for_names_and_addresses() {
        let ca = authority("test CA", 2026).unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let server = server_certificate("test CA", &ca, &names, 2026).unwrap();
        assert!(server.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(server_certificate("test CA", &ca, &["bad\u{e9}name".to_owned()], 2026).is_err());
    }
}
