//! Containers.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Client, Result, demultiplex, label_filter};

/// A container as a list shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its names, each with a leading `/`.
    pub names: Vec<String>,
    /// `created`, `running`, `exited`, ...
    pub state: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Seconds since the epoch.
    pub created: i64,
    /// Its published ports.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Its networks.
    pub network_settings: NetworkSettings,
}

/// A port of a container.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Port {
    /// The port in the container.
    pub private_port: u16,
    /// The port on the engine's machine.
    pub public_port: Option<u16>,
}

/// The networks of a container, by name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    /// By network name.
    #[serde(default)]
    pub networks: BTreeMap<String, Attachment>,
}

/// A container's place in a network.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attachment {
    /// The address it has while it runs, or an empty text.
    #[serde(rename = "IPAddress", default)]
    pub ip_address: String,
    /// The address that was asked for.
    #[serde(rename = "IPAMConfig", default)]
    pub ipam_config: Option<AttachmentIpam>,
}

/// The address that was asked for.
#[derive(Clone, Debug, Deserialize)]
pub struct AttachmentIpam {
    /// The IPv4 address.
    #[serde(rename = "IPv4Address", default)]
    pub ipv4_address: String,
}

/// A container in full, as far as we look at it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerDetails {
    /// Its id.
    pub id: String,
    /// Its name, with a leading `/`.
    pub name: String,
    /// How it runs.
    pub state: ContainerState,
    /// Its limits.
    pub host_config: Limits,
}

/// The limits of a container; 0 is none.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Limits {
    /// Processor time, in billionths of a processor.
    pub nano_cpus: u64,
    /// Memory in bytes.
    pub memory: u64,
}

/// How a container runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerState {
    /// Whether its first process is alive.
    pub running: bool,
    /// Whether its processes are frozen.
    pub paused: bool,
    /// The exit code of its first process, when it ended.
    pub exit_code: i64,
    /// Whether the kernel killed it for want of memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
}

/// `POST /containers/create`, built up field by field.
#[must_use = "call `send`"]
pub struct CreateContainer<'a> {
    client: &'a Client,
    name: String,
    body: Value,
}

impl CreateContainer<'_> {
    fn set(mut self, pointer: &[&str], value: Value) -> Self {
        let mut place = &mut self.body;
        for part in pointer {
            place = &mut place[part];
        }
        *place = value;
        self
    }

    fn push(mut self, field: &str, value: Value) -> Self {
        match &mut self.body["HostConfig"][field] {
            Value::Array(items) => items.push(value),
            empty => *empty = json!([value]),
        }
        self
    }

    /// The host name inside.
    pub fn hostname(self, name: &str) -> Self {
        self.set(&["Hostname"], name.into())
    }

    /// The first process.
    pub fn command(self, words: &[&str]) -> Self {
        self.set(&["Cmd"], json!(words))
    }

    /// The signal that stops the first process.
    pub fn stop_signal(self, signal: &str) -> Self {
        self.set(&["StopSignal"], signal.into())
    }

    /// Labels.
    pub fn labels(self, labels: &BTreeMap<String, String>) -> Self {
        self.set(&["Labels"], json!(labels))
    }

    /// The network, the address in it and the names by which others find the container.
    pub fn network(self, network: &str, address: &str, aliases: &[&str]) -> Self {
        self.set(&["HostConfig", "NetworkMode"], network.into()).set(
            &["NetworkingConfig", "EndpointsConfig", network],
            json!({ "IPAMConfig": { "IPv4Address": address }, "Aliases": aliases }),
        )
    }

    /// Publishes a TCP port on 127.0.0.1.
    pub fn publish(self, port: u16, host_port: u16) -> Self {
        let key = format!("{port}/tcp");
        self.set(&["ExposedPorts", &key], json!({})).set(
            &["HostConfig", "PortBindings", &key],
            json!([{ "HostIp": "127.0.0.1", "HostPort": host_port.to_string() }]),
        )
    }

    /// Processor time, in billionths of a processor.
    pub fn nano_cpus(self, nano: u64) -> Self {
        self.set(&["HostConfig", "NanoCpus"], nano.into())
    }

    /// Memory in bytes; swap counts within it.
    pub fn memory(self, bytes: u64) -> Self {
        self.set(&["HostConfig", "Memory"], bytes.into()).set(&["HostConfig", "MemorySwap"], bytes.into())
    }

    /// Adds a capability.
    pub fn cap_add(self, capability: &str) -> Self {
        self.push("CapAdd", capability.into())
    }

    /// Adds a security option.
    pub fn security_opt(self, option: &str) -> Self {
        self.push("SecurityOpt", option.into())
    }

    /// Mounts a tmpfs.
    pub fn tmpfs(self, path: &str, options: &str) -> Self {
        self.set(&["HostConfig", "Tmpfs", path], options.into())
    }

    /// Mounts a path or a volume: `source:target[:ro]`.
    pub fn bind(self, bind: &str) -> Self {
        self.push("Binds", bind.into())
    }

    /// `host` or `private`.
    pub fn cgroup_namespace(self, mode: &str) -> Self {
        self.set(&["HostConfig", "CgroupnsMode"], mode.into())
    }

    /// `no`, `always`, `unless-stopped` or `on-failure`.
    pub fn restart_policy(self, name: &str) -> Self {
        self.set(&["HostConfig", "RestartPolicy"], json!({ "Name": name }))
    }

    /// Creates the container and returns its id.
    ///
    /// # Errors
    /// When the engine refuses: the name is taken, the image is missing, ...
    pub async fn send(self) -> Result<String> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "Id")]
            id: String,
        }
        let request = self.client.request(Method::POST, "/containers/create").query(&[("name", &self.name)]);
        let created: Created = self.client.json(request.json(&self.body)).await?;
        Ok(created.id)
    }
}

impl Client {
    /// All containers that carry a label (`key=value` or `key`), running or not.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn list_containers(&self, label: &str) -> Result<Vec<Container>> {
        let query = [("all", "1".to_owned()), ("filters", label_filter(label))];
        self.json(self.request(Method::GET, "/containers/json").query(&query)).await
    }

    /// All containers, running or not.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn all_containers(&self) -> Result<Vec<Container>> {
        self.json(self.request(Method::GET, "/containers/json").query(&[("all", "1")])).await
    }

    /// All containers of a network, running or not.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn list_containers_of_network(&self, network: &str) -> Result<Vec<Container>> {
        let query = [("all", "1".to_owned()), ("filters", json!({ "network": [network] }).to_string())];
        self.json(self.request(Method::GET, "/containers/json").query(&query)).await
    }

    /// Begins the creation of a container.
    pub fn create_container(&self, name: &str, image: &str) -> CreateContainer<'_> {
        CreateContainer { client: self, name: name.to_owned(), body: json!({ "Image": image, "HostConfig": {} }) }
    }

    /// Starts a container; one that runs already is left alone.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn start_container(&self, id: &str) -> Result<()> {
        self.done(self.request(Method::POST, &format!("/containers/{id}/start"))).await
    }

    /// Removes a container, running or not, and the volumes that have no name.
    ///
    /// # Errors
    /// When the engine refuses; that it is gone already is an error of its own ([`super::DockerError::is_not_found`]).
    pub async fn remove_container(&self, id: &str) -> Result<()> {
        let query = [("force", "1"), ("v", "1")];
        self.done(self.request(Method::DELETE, &format!("/containers/{id}")).query(&query)).await
    }

    /// A container in full.
    ///
    /// # Errors
    /// When there is none.
    pub async fn inspect_container(&self, id: &str) -> Result<ContainerDetails> {
        self.json(self.request(Method::GET, &format!("/containers/{id}/json"))).await
    }

    /// Changes the limits of a container while it runs: billionths of a processor, bytes of memory.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn update_container(&self, id: &str, nano_cpus: u64, memory: u64) -> Result<()> {
        let body = json!({ "NanoCpus": nano_cpus, "Memory": memory, "MemorySwap": memory });
        self.done(self.request(Method::POST, &format!("/containers/{id}/update")).json(&body)).await
    }

    /// Lets the processes of a paused container go on.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn unpause_container(&self, id: &str) -> Result<()> {
        self.done(self.request(Method::POST, &format!("/containers/{id}/unpause"))).await
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn rename_container(&self, id: &str, name: &str) -> Result<()> {
        self.done(self.request(Method::POST, &format!("/containers/{id}/rename")).query(&[("name", name)])).await
    }

    /// Unpacks a tar archive into a container, which need not run.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn put_archive(&self, id: &str, path: &str, tar: impl Into<Bytes>) -> Result<()> {
        let request = self.request(Method::PUT, &format!("/containers/{id}/archive")).query(&[("path", path)]);
        self.done(request.header("Content-Type", "application/x-tar").body(tar.into())).await
    }

    /// The last lines that the first process printed.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn container_logs(&self, id: &str, lines: u32) -> Result<String> {
        let query = [("stdout", "1".to_owned()), ("stderr", "1".to_owned()), ("tail", lines.to_string())];
        let response = self.send(self.request(Method::GET, &format!("/containers/{id}/logs")).query(&query)).await?;
        Ok(demultiplex(response.bytes().await?))
    }
}
