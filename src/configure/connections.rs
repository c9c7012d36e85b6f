//! Connections to the machines of an environment: in a cloud all through the bastion; those that the local provider publishes
//! directly.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    sync::{Mutex, OnceCell},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{host_keys, machine};
use crate::{
    apply::{Keeper, LOGIN_KEY, Pins, host_key, pins},
    config::{Cidr, Environment},
    error::{Error, Result},
    event::Events,
    name::Name,
    playbook::{Connections, Reach},
    provider::Provider,
    remote::{
        Local, Transport,
        ssh::{Ssh, Target},
    },
    state::{State, Vault},
};

/// How long a machine may take from its creation to its first login.
const BOOT: Duration = Duration::from_mins(3);

/// How long a machine may take to show a new host key.
const NEW_KEY: Duration = Duration::from_secs(10);

/// A connection that is opened once.
type Opened = OnceCell<Arc<Ssh>>;

/// One connection a host, opened on first use.
pub struct Pool {
    targets: HashMap<String, Host>,
    bastion: Option<String>,
    /// From where the bastion can be reached, where that is not everywhere.
    ssh_from: Option<String>,
    provider: Arc<dyn Provider>,
    /// Writes down the host keys that machines make; without it they keep those that they have.
    keeper: Option<Keeper>,
    local: Mutex<Arc<Local>>,
    open: Mutex<HashMap<(String, Reach), Arc<Opened>>>,
    events: Events,
    cancel: CancellationToken,
}

struct Host {
    id: String,
    /// Where this machine reaches it, when it is public.
    direct: Option<(String, u16)>,
    /// Where the bastion reaches it.
    inner: Target,
    /// What it is known by.
    pins: Mutex<Pins>,
}

impl Pool {
    /// The connections of an environment as it is in the state.
    ///
    /// # Errors
    /// When a machine's keys are not known.
    pub fn new(
        environment: &Environment, state: &State, vault: &Vault, provider: Arc<dyn Provider>, events: &Events,
    ) -> Result<Self> {
        let mut targets = HashMap::new();
        for (name, host) in &environment.hosts {
            let Some(machine) = machine(environment, state, name) else { continue };
            let text = |field: &str| machine.text(field).map(str::to_owned);
            let missing = |key: String| {
                Error::new(format!("the keys of `{name}` are not in the state (`{key}`)")).hint(format!(
                    "make the machine again: `infra apply {} --replace {}`",
                    environment.name, machine.address
                ))
            };
            let login = format!("{LOGIN_KEY}/private");
            let port = machine.ssh_port();
            let known = pins(vault, machine.key_name, machine.id);
            let pins = known.ok_or_else(|| missing(format!("{}/public", host_key(machine.key_name))))?;
            let inner = Target {
                address: text("address").unwrap_or_default(),
                port: 22,
                login: host.login.clone(),
                host_keys: pins.accepted.clone(),
                known: pins.own,
                replace: format!("make it again: `infra apply {} --replace {}`", environment.name, machine.address),
                key: vault.get(&login).cloned().ok_or_else(|| missing(login))?,
            };
            let direct = text("public_address").filter(|_| is_direct(environment, name)).map(|address| (address, port));
            let host = Host { id: machine.id.to_owned(), direct, inner, pins: Mutex::new(pins) };
            targets.insert(name.to_string(), host);
        }
        Ok(Self {
            bastion: environment.bastion().map(Name::to_string),
            ssh_from: (environment.ssh_from != [Cidr::ANYWHERE]).then(|| environment.ssh_ranges().join(", ")),
            targets,
            provider,
            keeper: None,
            local: Mutex::default(),
            open: Mutex::default(),
            events: events.clone(),
            cancel: CancellationToken::new(),
        })
    }

    /// The same connections; machines that still have the host key of their first boot make one of their own, which is written down
    /// here.
    #[must_use]
    pub fn with_keeper(self, keeper: Option<Keeper>) -> Self {
        Self { keeper, ..self }
    }

    /// The same connections; those that are being opened are given up when the command is asked to stop.
    #[must_use]
    pub fn until(self, cancel: CancellationToken) -> Self {
        Self { cancel, ..self }
    }

    /// Waits until every machine has been logged in to.
    ///
    /// # Errors
    /// When one of them cannot be reached in time.
    pub async fn connect_all(&self) -> Result<()> {
        futures::future::try_join_all(self.targets.keys().map(|host| self.ssh(host))).await.map(drop)
    }

    /// The SSH connection of a host.
    ///
    /// # Errors
    /// When there is no such host, or it cannot be reached in time.
    pub async fn ssh(&self, host: &str) -> Result<Arc<Ssh>> {
        self.ssh_by(host, &Reach::default()).await
    }

    /// The SSH connection of a host, with another login, address or port than its own where variables say so.
    async fn ssh_by(&self, host: &str, reach: &Reach) -> Result<Arc<Ssh>> {
        let Some(target) = self.targets.get(host) else {
            let mut known: Vec<&str> = self.targets.keys().map(String::as_str).collect();
            known.sort_unstable();
            return Err(
                Error::usage(format!("there is no machine `{host}`")).hint(format!("machines: {}", known.join(", ")))
            );
        };
        let (reach, reached, is_direct) = target.reached(reach);
        let cell = Arc::clone(self.open.lock().await.entry((host.to_owned(), reach)).or_default());
        let connection = cell.get_or_try_init(|| async {
            let via = match &self.bastion {
                Some(bastion) if !is_direct && bastion != host => Some(Box::pin(self.ssh(bastion)).await?),
                _ => None,
            };
            let mut pins = target.pins.lock().await;
            let reached = Target { host_keys: pins.accepted.clone(), known: pins.own, ..reached.clone() };
            let why_down = || self.provider.why_down(&target.id);
            let connect = async {
                // On the heap: it is large, and every future that connects would have it inside.
                let connecting = Box::pin(Ssh::connect(&reached, via.clone(), Instant::now() + BOOT, why_down));
                tokio::select! {
                    connected = connecting => connected,
                    () = self.cancel.cancelled() => {
                        Err(Error::interrupted(format!("`{host}` was not reached before the command was stopped")))
                    }
                }
            };
            let connect = async {
                connect.await.map_err(|error| match &self.ssh_from {
                    Some(ranges) if via.is_none() => error.hint(format!(
                        "`network.ssh_from` lets in {ranges} only: is the address that this machine has in the internet one of them?"
                    )),
                    _ => error,
                })
            };
            let connect = self.events.watch(host, "connecting", "connected", connect);
            let Some(keeper) = self.keeper.as_ref().filter(|_| !pins.own) else {
                drop(pins);
                return connect.await.map(Arc::new);
            };
            // Whoever connects in another way waits until it is clear which key the machine shows.
            let first = connect.await?;
            match self.change_key(&reached, via, &target.id, &first, keeper, &mut pins).await {
                Ok(Some(second)) => Ok(Arc::new(second)),
                Ok(None) => Ok(Arc::new(first)),
                Err(error) => {
                    self.events.warn(format!(
                        "`{host}` keeps the host key of its first boot, which its user-data shows, until the next apply: {error}"
                    ));
                    Ok(Arc::new(first))
                }
            }
        });
        connection.await.cloned()
    }
}

impl Host {
    /// How the host is reached: what differs from its own login, address and port, the whole of it, and whether it is reached
    /// without the bastion.
    fn reached(&self, reach: &Reach) -> (Reach, Target, bool) {
        let own = &self.inner;
        let different = Reach {
            login: reach.login.clone().filter(|login| *login != own.login),
            address: reach.address.clone().filter(|address| !address.is_empty() && *address != own.address),
            port: reach.port.filter(|port| *port != own.port),
        };
        let mut target = own.clone();
        if let Some((address, port)) = &self.direct {
            (target.address, target.port) = (address.clone(), *port);
        }
        if let Some(address) = &different.address {
            (target.address, target.port) = (address.clone(), own.port);
        }
        target.port = different.port.unwrap_or(target.port);
        if let Some(login) = &different.login {
            target.login.clone_from(login);
        }
        (different, target, self.direct.is_some())
    }
}

impl Pool {
    /// Lets a machine make a host key of its own, and connects to it again by that key: `None` when it shows it already.
    async fn change_key(
        &self, reached: &Target, via: Option<Arc<Ssh>>, id: &str, first: &Ssh, keeper: &Keeper, pins: &mut Pins,
    ) -> Result<Option<Ssh>> {
        let shown = first.host_key().to_owned();
        // The second one that is accepted is the machine's own, which an earlier command did not come to write down.
        if pins.accepted.iter().position(|key| *key == shown) == Some(1) {
            keeper.pin(id, &shown).await?;
            *pins = Pins { accepted: vec![shown], own: true };
            return Ok(None);
        }
        let own = host_keys::change(first, id, keeper, pins).await?;
        let target = Target { host_keys: vec![own.clone()], ..reached.clone() };
        let second = Ssh::connect(&target, via, Instant::now() + NEW_KEY, || async { None }).await?;
        keeper.pin(id, &own).await?;
        *pins = Pins { accepted: vec![own], own: true };
        Ok(Some(second))
    }
}

/// Whether a machine is reached without the bastion. A cloud opens port 22 of the bastion only; the local provider publishes
/// that of every public machine on this machine.
pub(crate) fn is_direct(environment: &Environment, host: &Name) -> bool {
    environment.provider.capabilities().reaches_public_machines || environment.bastion() == Some(host)
}

#[async_trait]
impl Connections for Pool {
    async fn connect(&self, host: &str) -> Result<Arc<dyn Transport>> {
        if host == "localhost" {
            return Ok(Arc::<Local>::clone(&*self.local.lock().await));
        }
        Ok(self.ssh(host).await?)
    }

    async fn reset(&self, host: &str) {
        if host == "localhost" {
            *self.local.lock().await = Arc::default();
        } else {
            // Whoever uses the connection at this moment keeps it until it is done.
            self.open.lock().await.retain(|(name, _), _| name != host);
        }
    }

    async fn reach(&self, host: &str, reach: &Reach) -> Result<Arc<dyn Transport>> {
        Ok(self.ssh_by(host, reach).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Host, Mutex, Pins, Reach, Target};

    #[test]
    fn variables_change_the_way_to_a_host() {
        let inner = Target {
            address: "10.0.0.5".to_owned(),
            port: 22,
            login: "debian".to_owned(),
            host_keys: Vec::new(),
            known: false,
            replace: String::new(),
            key: crate::secret::Secret::new("key".to_owned()),
        };
        let pins = Mutex::new(Pins { accepted: Vec::new(), own: false });
        let host = Host { id: String::new(), direct: Some(("127.0.0.1".to_owned(), 2201)), inner, pins };
        let way = |login: Option<&str>, address: Option<&str>, port| {
            let reach = Reach { login: login.map(String::from), address: address.map(String::from), port };
            let (different, target, _) = host.reached(&reach);
            (different == Reach::default(), format!("{}@{}:{}", target.login, target.address, target.port))
        };
        // The inventory says these itself.
        assert_eq!(way(Some("debian"), Some("10.0.0.5"), Some(22)), (true, "debian@127.0.0.1:2201".to_owned()));
        assert_eq!(way(Some("deploy"), None, None), (false, "deploy@127.0.0.1:2201".to_owned()));
        assert_eq!(way(None, Some("192.0.2.7"), Some(2222)), (false, "debian@192.0.2.7:2222".to_owned()));
    }
}
