//! Connections to the machines of an environment: public ones directly, all others through the bastion.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    sync::{Mutex, OnceCell},
    time::Instant,
};

use super::machine;
use crate::{
    apply::{LOGIN_KEY, host_key},
    config::Environment,
    error::{Error, Result},
    event::Events,
    name::Name,
    playbook::Connections,
    provider::Provider,
    remote::{
        Local, Transport,
        ssh::{Ssh, Target},
    },
    state::{State, Vault},
};

/// How long a machine may take from its creation to its first login.
const BOOT: Duration = Duration::from_mins(3);

/// One connection a host, opened on first use.
pub struct Pool {
    targets: HashMap<String, Host>,
    bastion: Option<String>,
    provider: Arc<dyn Provider>,
    local: Arc<Local>,
    open: Mutex<HashMap<String, Arc<OnceCell<Arc<Ssh>>>>>,
    events: Events,
}

struct Host {
    id: String,
    /// Where this machine reaches it, when it is public.
    direct: Option<(String, u16)>,
    /// Where the bastion reaches it.
    inner: Target,
}

impl Pool {
    /// The connections of an environment as it stands in the state.
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
            let secret = |key: String| {
                vault.get(&key).cloned().ok_or_else(|| {
                    Error::new(format!("the keys of `{name}` are not in the state")).hint(format!(
                        "make the machine anew: remove it from the file, apply, put it back, apply ({key})"
                    ))
                })
            };
            let port = machine.ssh_port();
            let inner = Target {
                address: text("address").unwrap_or_default(),
                port: 22,
                login: host.login.clone(),
                host_key: secret(format!("{}/public", host_key(machine.key_name)))?.expose().to_owned(),
                key: secret(format!("{LOGIN_KEY}/private"))?,
            };
            let direct = text("public_address").map(|address| (address, port));
            targets.insert(name.to_string(), Host { id: machine.id.to_owned(), direct, inner });
        }
        Ok(Self {
            bastion: bastion(environment).map(Name::to_string),
            targets,
            provider,
            local: Arc::default(),
            open: Mutex::default(),
            events: events.clone(),
        })
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
        let Some(target) = self.targets.get(host) else {
            let mut known: Vec<&str> = self.targets.keys().map(String::as_str).collect();
            known.sort_unstable();
            return Err(
                Error::usage(format!("there is no machine `{host}`")).hint(format!("machines: {}", known.join(", ")))
            );
        };
        let cell = Arc::clone(self.open.lock().await.entry(host.to_owned()).or_default());
        let connection = cell.get_or_try_init(|| async {
            let via = match (&target.direct, &self.bastion) {
                (None, Some(bastion)) if bastion != host => Some(Box::pin(self.ssh(bastion)).await?),
                _ => None,
            };
            let mut reached = target.inner.clone();
            if let Some((address, port)) = &target.direct {
                (reached.address, reached.port) = (address.clone(), *port);
            }
            let connect = Ssh::connect(&reached, via, Instant::now() + BOOT, || self.provider.why_down(&target.id));
            self.events.watch(host, "connecting", "connected", connect).await.map(Arc::new)
        });
        connection.await.cloned()
    }
}

/// The way in: the first public machine of the group `bastion`, or the first public machine.
pub(crate) fn bastion(environment: &Environment) -> Option<&Name> {
    let public = || environment.hosts.iter().filter(|(_, host)| host.public);
    let named = public().find(|(_, host)| host.groups.iter().any(|group| group == "bastion"));
    named.or_else(|| public().next()).map(|(name, _)| name)
}

#[async_trait]
impl Connections for Pool {
    async fn connect(&self, host: &str) -> Result<Arc<dyn Transport>> {
        if host == "localhost" {
            return Ok(Arc::<Local>::clone(&self.local));
        }
        Ok(self.ssh(host).await?)
    }
}
