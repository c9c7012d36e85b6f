//! The environment's certificate authority and the certificates of its fronts. Every apply looks whether one of them ends
//! before long, and renews it in a way that breaks nothing: clients go on trusting what they trust.

use super::machines::machine;
use crate::{
    clock::Clock,
    config::Environment,
    error::Result,
    identity::{self, CA_YEARS, Certificate},
    resource::KindName,
    state::{State, Vault},
};

/// The vault's name for the environment's certificate authority.
pub(super) const AUTHORITY: &str = "ca";

/// How many years before its end the authority's certificate is renewed: as long has everybody time to fetch the new one.
const RENEWED_BEFORE: i32 = 3;

/// Makes the certificates of the environment's fronts, which name their addresses, and renews those that end before long.
///
/// # Errors
/// When one cannot be made.
pub fn prepare_certificates(environment: &Environment, state: &State, vault: &mut Vault, clock: Clock) -> Result<()> {
    if environment.nginx.is_empty() {
        return Ok(());
    }
    let year = year(clock.now());
    // One that was taken over from a pool keeps the authority that its certificates were signed by.
    let authority_name = format!("infra {} CA", state.label());
    let authority = authority(vault, &authority_name, state, year)?;
    for (name, front) in &environment.nginx {
        let mut names = front.names.clone();
        names.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]);
        for node in &front.nodes {
            names.push(node.to_string());
            let machine = machine(environment, state, node);
            for field in ["address", "public_address"] {
                let address = machine.as_ref().and_then(|machine| machine.text(field));
                names.extend(address.map(str::to_owned));
            }
        }
        let balancer = state.resources.get(&KindName::LOAD_BALANCER.named(name));
        let address = balancer.and_then(|balancer| balancer.attributes.get("public_address")?.as_str());
        names.extend(address.map(str::to_owned));
        names.sort();
        names.dedup();
        // Certificates last two years, and are renewed in every year.
        let subject = format!("{} {year}", names.join(","));
        vault.certificate(&format!("front/{name}"), &subject, || {
            identity::server_certificate(&authority_name, &authority, &names, year)
        })?;
    }
    Ok(())
}

fn year(moment: jiff::Timestamp) -> i32 {
    i32::from(moment.to_zoned(jiff::tz::TimeZone::UTC).year())
}

/// The authority: made on first use, with a new certificate for the same name and key when the one it has ends before long.
fn authority(vault: &mut Vault, name: &str, state: &State, year: i32) -> Result<Certificate> {
    let field = |field: &str| format!("{AUTHORITY}/{field}");
    let get = |name: &str| vault.get(&field(name)).cloned();
    let subject = |until: i32| format!("{name} until {until}");
    let known = get("certificate").zip(get("key")).zip(get("subject"));
    let made = match known {
        None => identity::authority(name, year)?,
        Some(((certificate, key), known)) => {
            let known_subject = known.expose();
            // Earlier versions did not write down until when it is valid: it is no older than the environment.
            let until = if known_subject == name {
                Some(self::year(state.created) + CA_YEARS)
            } else {
                known_subject.strip_prefix(&format!("{name} until ")).and_then(|year| year.parse().ok())
            };
            let known = Certificate { certificate: certificate.expose().to_owned(), key };
            match until {
                Some(until) if until - year > RENEWED_BEFORE => return Ok(known),
                Some(_) => identity::renewed_authority(name, year, &known)?,
                None => identity::authority(name, year)?,
            }
        }
    };
    vault.put_public(&field("certificate"), &made.certificate);
    vault.put(&field("key"), made.key.clone());
    vault.put_public(&field("subject"), &subject(year + CA_YEARS));
    Ok(made)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    };

    use super::{Clock, Environment, State, Vault, prepare_certificates};
    use crate::{config, yaml::Source};

    fn clock(year: i32) -> Clock {
        Clock::Fixed(format!("{year}-06-01T12:00:00Z").parse().unwrap())
    }

    fn environment() -> Environment {
        let text = "nginx: {front: {nodes: 1, upstreams: {}, locations: {}}}\n";
        config::load_source(&Source::new("/p/dev/config.yaml", text), &config::LoadOptions::default()).unwrap()
    }

    fn certificate(vault: &Vault, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(vault.get(&format!("{name}/certificate")).unwrap().expose().as_bytes()).unwrap()
    }

    /// Whether a client that trusts this authority accepts the server in a year.
    fn accepts(trusted: &CertificateDer<'static>, server: &CertificateDer<'static>, year: i32) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let seconds = u64::try_from(clock(year).now().as_second()).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let name = ServerName::try_from("localhost").unwrap();
        verifier.verify_server_cert(server, &[], &name, &[], now).is_ok()
    }

    #[test]
    fn certificates_are_renewed_before_they_end_and_clients_go_on_trusting() {
        let (environment, mut vault) = (environment(), Vault::default());
        let state = State { created: clock(2026).now(), ..State::nothing(&environment) };
        prepare_certificates(&environment, &state, &mut vault, clock(2026)).unwrap();
        let first = certificate(&vault, "ca");
        let mut fetched = first.clone();
        for year in 2026..2060 {
            let before = vault.clone();
            prepare_certificates(&environment, &state, &mut vault, clock(year)).unwrap();
            let (authority, server) = (certificate(&vault, "ca"), certificate(&vault, "front/front"));
            assert!(accepts(&authority, &server, year) && accepts(&authority, &server, year + 1), "{year}");
            // Whoever fetched the authority's certificate before this apply need not hurry.
            assert!(accepts(&certificate(&before, "ca"), &server, year), "{year}");
            assert!(accepts(&fetched, &server, year), "{year}: a client that looks every two years");
            if year % 2 == 0 {
                fetched = authority.clone();
            }
            assert_eq!(authority == first, year < 2033, "{year}");
            let again = vault.clone();
            prepare_certificates(&environment, &state, &mut vault, clock(year)).unwrap();
            assert!(vault.same_as(&again), "an apply of the same year changes nothing");
        }
    }

    #[test]
    fn an_authority_of_an_earlier_version_keeps_its_key() {
        let (environment, mut vault) = (environment(), Vault::default());
        let state = State { created: clock(2026).now(), ..State::nothing(&environment) };
        prepare_certificates(&environment, &state, &mut vault, clock(2026)).unwrap();
        vault.put_public("ca/subject", "infra dev CA");
        let old = vault.clone();
        prepare_certificates(&environment, &state, &mut vault, clock(2028)).unwrap();
        assert_eq!(certificate(&vault, "ca"), certificate(&old, "ca"));
        prepare_certificates(&environment, &state, &mut vault, clock(2034)).unwrap();
        assert_ne!(certificate(&vault, "ca"), certificate(&old, "ca"));
        assert_eq!(vault.get("ca/key").unwrap().expose(), old.get("ca/key").unwrap().expose());
        assert!(accepts(&certificate(&old, "ca"), &certificate(&vault, "front/front"), 2034));
    }
}
