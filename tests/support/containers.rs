//! Machines of a simulated cloud that are real: containers that boot with cloud-init, as the images of a cloud do.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use infra::{
    cloud::docker::{Client, DockerSettings},
    provider::docker::{base_image, endpoint},
};
use tokio::runtime::Handle;

/// What makes the machines of a simulated cloud real. These calls block.
pub(crate) trait Machines: Send + Sync {
    /// Makes a machine in a subnet (id and range), at an address of that or at the next free one, and tells its address.
    fn create(&self, id: &str, hostname: &str, subnet: (&str, &str), address: Option<&str>, user_data: &str) -> String;
    /// Removes a machine.
    fn delete(&self, id: &str);
    /// Removes a subnet.
    fn delete_subnet(&self, id: &str);
}

/// User-data of a machine that is a managed database: a real server with these logins (and their passwords) and these databases
/// (and their owners).
pub(crate) fn database_server(port: u16, users: &[(String, String)], databases: &[(String, String)]) -> String {
    let roles = users.iter().map(|(name, password)| format!("CREATE ROLE \"{name}\" LOGIN PASSWORD '{password}';\n"));
    let made = databases.iter().map(|(name, owner)| format!("CREATE DATABASE \"{name}\" OWNER \"{owner}\";\n"));
    let sql: String = roles.chain(made).collect();
    format!(
        "#!/bin/sh\nset -ex\nexport DEBIAN_FRONTEND=noninteractive\napt-get update\n\
         apt-get install -y --no-install-recommends postgresql-15\ncd /etc/postgresql/15/main\n\
         su postgres -c 'psql -v ON_ERROR_STOP=1' <<'SQL'\n{sql}SQL\n\
         echo 'host all all all scram-sha-256' >>pg_hba.conf\n\
         printf \"listen_addresses='*'\\nport={port}\\n\" >conf.d/service.conf\nsystemctl restart postgresql@15-main\n"
    )
}

/// The label that all of a test's containers and networks carry.
const LABEL: &str = "infra-simulated";

/// The machines of one simulated cloud; they are gone when it is dropped.
pub(crate) struct Containers {
    client: Client,
    image: String,
    owner: String,
    /// The last number of the next machine's address.
    next: AtomicUsize,
    /// Held while a network is looked for and made.
    networks: tokio::sync::Mutex<()>,
}

impl Containers {
    /// Prepares the image: the base image with cloud-init.
    pub(crate) async fn new(owner: &str) -> Self {
        let client = Client::new(&endpoint(&DockerSettings::default()).unwrap()).unwrap();
        let base = base_image().unwrap();
        let image = base.replace("infra-base", "infra-cloud-image");
        if !client.has_image(&image).await.unwrap() {
            let dockerfile = format!(
                "FROM {base}\n\
                 RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends cloud-init && \
                 rm -rf /var/lib/apt/lists/* /var/cache/apt/archives && mkdir -p /var/cache/apt/archives/partial && \
                 printf 'datasource_list: [ NoCloud ]\\nnetwork: {{config: disabled}}\\n' >/etc/cloud/cloud.cfg.d/90-simulated.cfg\n"
            );
            let mut archive = tar::Builder::new(Vec::new());
            add(&mut archive, "Dockerfile", &dockerfile);
            let mut last = String::new();
            let built =
                client.build_image(&image, archive.into_inner().unwrap(), |line| line.clone_into(&mut last)).await;
            built.unwrap_or_else(|error| panic!("{error}: {last}"));
        }
        Self {
            client,
            image,
            owner: owner.to_owned(),
            next: AtomicUsize::new(10),
            networks: tokio::sync::Mutex::default(),
        }
    }

    fn label(&self) -> String {
        format!("{LABEL}={}", self.owner)
    }

    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(LABEL.to_owned(), self.owner.clone())])
    }

    fn network(&self, subnet: &str) -> String {
        format!("{}-{subnet}", self.owner)
    }

    /// What is left of it.
    pub(crate) async fn left(&self) -> usize {
        let containers = self.client.list_containers(&self.label()).await.unwrap().len();
        containers + self.client.list_networks(Some(&self.label())).await.unwrap().len()
    }

    async fn make(
        &self, id: &str, hostname: &str, subnet: (&str, &str), address: Option<&str>, user_data: &str,
    ) -> String {
        let network = self.network(subnet.0);
        let one_at_a_time = self.networks.lock().await;
        let networks = self.client.list_networks(Some(&self.label())).await.unwrap();
        if !networks.iter().any(|other| other.name == network) {
            let create = self.client.create_network(&network).cidr(subnet.1).labels(&self.labels());
            create.send().await.unwrap_or_else(|error| panic!("{error}"));
        }
        drop(one_at_a_time);
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let next = format!("{}.{number}", subnet.1.rsplit_once('.').unwrap().0);
        let address = address.map_or(next, str::to_owned);
        let name = format!("{}-{id}", self.owner);
        let create = self
            .client
            .create_container(&name, &self.image)
            // A whole domain name is an alias only: a host name has an end.
            .hostname(if hostname.contains('.') { id } else { hostname })
            .labels(&self.labels())
            .network(&network, &address, &[hostname])
            .stop_signal("SIGRTMIN+3")
            .tmpfs("/run", "exec,mode=755")
            .tmpfs("/run/lock", "mode=1777")
            .tmpfs("/tmp", "exec,mode=1777")
            .cap_add("SYS_ADMIN")
            .cap_add("NET_ADMIN")
            .security_opt("seccomp=unconfined")
            .bind("infra-package-cache:/var/cache/infra");
        let create = if self.client.info().await.unwrap().cgroup_version == "2" {
            create.cgroup_namespace("private").command(&[
                "/bin/sh",
                "-c",
                "mount -o remount,rw /sys/fs/cgroup && exec /sbin/init",
            ])
        } else {
            create.cgroup_namespace("host").bind("/sys/fs/cgroup:/sys/fs/cgroup:ro").command(&["/sbin/init"])
        };
        let container = create.send().await.unwrap_or_else(|error| panic!("{error}"));
        let mut archive = tar::Builder::new(Vec::new());
        add(&mut archive, "var/lib/cloud/seed/nocloud/user-data", user_data);
        add(
            &mut archive,
            "var/lib/cloud/seed/nocloud/meta-data",
            &format!("instance-id: {id}\nlocal-hostname: {hostname}\n"),
        );
        self.client.put_archive(&container, "/", archive.into_inner().unwrap()).await.unwrap();
        self.client.start_container(&container).await.unwrap();
        address
    }
}

fn add(archive: &mut tar::Builder<Vec<u8>>, path: &str, text: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o600);
    archive.append_data(&mut header, path, text.as_bytes()).unwrap();
}

impl Machines for Containers {
    fn create(&self, id: &str, hostname: &str, subnet: (&str, &str), address: Option<&str>, user_data: &str) -> String {
        Handle::current().block_on(self.make(id, hostname, subnet, address, user_data))
    }

    fn delete(&self, id: &str) {
        let name = format!("{}-{id}", self.owner);
        let _ = Handle::current().block_on(self.client.remove_container(&name));
    }

    fn delete_subnet(&self, id: &str) {
        let networks = Handle::current().block_on(self.client.list_networks(Some(&self.label()))).unwrap();
        for network in networks.iter().filter(|network| network.name == self.network(id)) {
            Handle::current().block_on(self.client.remove_network(&network.id)).unwrap();
        }
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        // A test that failed half-way leaves nothing behind either. Its runtime may be ending: another one does it.
        let label = self.label();
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = Client::new(&endpoint(&DockerSettings::default()).unwrap()).unwrap();
                for container in client.list_containers(&label).await.unwrap_or_default() {
                    let _ = client.remove_container(&container.id).await;
                }
                for network in client.list_networks(Some(&label)).await.unwrap_or_default() {
                    let _ = client.remove_network(&network.id).await;
                }
            });
        });
        let _ = cleaning.join();
    }
}
