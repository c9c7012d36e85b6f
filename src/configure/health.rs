//! Whether what was configured works: machines whose services all run, and fronts that answer.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use super::Pool;
use crate::{
    authorities,
    config::Environment,
    error::{Context, Error, Result},
    event::{self, Events},
    playbook::Inventory,
    remote::{ReadOnly, Script, Transport as _},
    template::Var,
};

/// How often what does not work yet is looked at again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until everything works, at most this long.
///
/// # Errors
/// When something does not work even then: what, and what it says.
pub async fn wait_until_healthy(
    environment: &Environment, inventory: &Inventory, pool: &Pool, time: Duration, events: &Events,
) -> Result<()> {
    let deadline = Instant::now() + time;
    let hosts = environment.hosts.keys().map(|name| async move {
        let look = || async { host(pool, name.as_str()).await };
        let waiting = Box::pin(until(deadline, look));
        events.watch(name.as_str(), "waiting until it is healthy", "healthy", waiting).await
    });
    let fronts = environment.nginx.iter().filter(|(_, front)| front.public).map(|(name, _)| async move {
        let look = || async { front(inventory, name.as_str()).await };
        let subject = format!("nginx.{name}");
        let waiting = Box::pin(until(deadline, look));
        events.watch(&subject, "waiting until it answers", "answers", waiting).await
    });
    let (hosts, fronts) = futures::join!(futures::future::join_all(hosts), futures::future::join_all(fronts));
    let failures: Vec<Error> = hosts.into_iter().chain(fronts).filter_map(Result::err).collect();
    let count = failures.len();
    match failures.into_iter().next() {
        None => Ok(()),
        Some(first) if count == 1 => Err(first),
        Some(first) => Err(first.hint(format!("{} more are not healthy", count - 1))),
    }
}

/// Looks until it is well or the time is up.
async fn until<F: Future<Output = Result<()>>>(deadline: Instant, look: impl Fn() -> F) -> Result<()> {
    let wait = event::wait_for("the first answer");
    loop {
        let asked = tokio::time::timeout(PATIENCE, look()).await;
        match asked.unwrap_or_else(|_| Err(Error::new(format!("no answer within {} s", PATIENCE.as_secs())))) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() + PAUSE >= deadline => return Err(error),
            Err(error) => {
                wait.is_for(format!("what is not well to be so ({error})"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// A machine is healthy when it has started and none of its services has failed.
async fn host(pool: &Pool, name: &str) -> Result<()> {
    let question = "systemctl is-system-running; systemctl list-units --failed --plain --no-legend | cut -d' ' -f1";
    let ssh = pool.ssh(name).await?;
    let outputs = ssh.exec(None, &[Script::probe(ReadOnly::of(question))]).await?;
    let said = outputs.first().map(crate::remote::Output::out).unwrap_or_default();
    let mut lines = said.lines();
    let state = lines.next().unwrap_or_default();
    let failed: Vec<&str> = lines.collect();
    match state {
        "running" => Ok(()),
        "degraded" => Err(Error::new(format!("`{name}` is not healthy: failed services: {}", failed.join(", ")))
            .hint(format!("infra ssh ENV {name} -- systemctl status {}", failed.first().unwrap_or(&"")))),
        other => Err(Error::new(format!("`{name}` is not healthy: it is {other}"))),
    }
}

/// A front is healthy when it answers, and not with an error of its own.
async fn front(inventory: &Inventory, name: &str) -> Result<()> {
    let Some(Var::Data(fronts)) = inventory.vars.get("nginx") else { return Ok(()) };
    let url = fronts[name]["url"].as_str().unwrap_or_default();
    let authority = inventory.vars.get("tls").and_then(|tls| match tls {
        Var::Data(tls) => tls["ca"].as_str().map(str::to_owned),
        _ => None,
    });
    let rest = url.trim_start_matches("https://");
    let (host, port) = rest.rsplit_once(':').unwrap_or((rest, "443"));
    let address: IpAddr = host.parse().map_err(|_| Error::new(format!("`{url}` has no address yet")))?;
    let port = port.parse().map_err(|_| Error::new(format!("`{url}` has no port")))?;
    let status =
        status(SocketAddr::new(address, port), authority).await.context(|| format!("`{url}` does not answer"))?;
    if status < 500 { Ok(()) } else { Err(Error::new(format!("`{url}` answers with {status}"))) }
}

/// The status of a front's first page.
async fn status(address: SocketAddr, authority: Option<String>) -> Result<u16> {
    let authorities: Vec<String> = authority.into_iter().collect();
    let roots = authorities::trusted(&authorities);
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = TcpStream::connect(address).await?;
    let name = rustls::pki_types::ServerName::from(address.ip());
    let mut stream = connector.connect(name, stream).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", address.ip());
    stream.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 64];
    let read = stream.read(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer[..read]).into_owned();
    let code = text.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    code.ok_or_else(|| Error::new("it does not speak HTTP"))
}
