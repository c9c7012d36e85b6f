//! SSH, with russh: pinned host keys, bastion hops, one connection per host.
//!
//! There is no trust on first use: the only host key that is accepted is the one that we made and injected ourselves.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use russh::{
    Channel, ChannelMsg, Preferred, cipher,
    client::{self, Handle, Msg},
    keys::{
        Algorithm, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, agent::client::AgentClient,
    },
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{
    Feed, Output, START_LIMIT, Script, Shell, Shells, Source, Stream, Transport, WRITE_LIMIT, become_command, frame,
    sh,
    shell::{Answer, finish, pour, unread},
};
use crate::{
    error::{Context, Error, Result},
    event,
    secret::Secret,
};

/// How long one attempt to connect may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long a machine that has been logged in to before may refuse the login: while it boots, only root may come in.
const REFUSALS: Duration = Duration::from_secs(5);
/// The pause between two attempts while a machine boots.
const PAUSE: Duration = Duration::from_millis(100);
/// Handshakes at once through one bastion: sshd drops more than ten unauthenticated connections at random
/// (`MaxStartups 10:30:100`).
const HANDSHAKES: usize = 6;

/// A host as SSH reaches it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its address, as this machine or the bastion sees it.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// The login.
    pub login: String,
    /// Its public host keys, in OpenSSH's format: no other one is accepted. There are two while the first one, which the machine
    /// was given at its first boot, is replaced by one of its own.
    pub host_keys: Vec<String>,
    /// Whether a login has succeeded before: a refused login is then no sign of a machine that is still booting.
    pub known: bool,
    /// How the machine is made again, when it is not what it was any more.
    pub replace: String,
    /// The private key that opens it, in OpenSSH's format.
    pub key: Secret,
}

struct Pinned {
    keys: Vec<PublicKey>,
    /// Which of them the host has shown.
    shown: Arc<OnceLock<usize>>,
}

impl client::Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = offered else { return Ok(false) };
        // Comments may differ; the key itself may not.
        let found = self.keys.iter().position(|pinned| pinned.key_data() == key.key_data());
        if let Some(at) = found {
            let _ = self.shown.set(at);
        }
        Ok(found.is_some())
    }
}

/// An open connection to a host.
pub struct Ssh {
    handle: Handle<Pinned>,
    login: String,
    host_key: String,
    shells: Shells,
    handshakes: Semaphore,
    /// The connection that this one runs through stays open as long as it does.
    _via: Option<Arc<Ssh>>,
}

fn config() -> Arc<client::Config> {
    Arc::new(client::Config {
        // With Nagle's algorithm an exec costs 44 ms instead of 1.6 ms.
        nodelay: true,
        window_size: 16 << 20,
        maximum_packet_size: 65535,
        channel_buffer_size: 1024,
        keepalive_interval: Some(Duration::from_secs(15)),
        keepalive_max: 3,
        inactivity_timeout: None,
        preferred: Preferred {
            key: Cow::Borrowed(&[Algorithm::Ed25519]),
            cipher: Cow::Borrowed(&[cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR]),
            ..Preferred::default()
        },
        ..client::Config::default()
    })
}

impl Ssh {
    /// Connects, trying again until `deadline` while the machine boots. `why_down` is asked after a failed attempt; an
    /// answer ends the waiting.
    ///
    /// # Errors
    /// When the host's key is another one than the pinned one, the login is refused, or the deadline passes.
    pub async fn connect<F, Fut>(
        target: &Target, via: Option<Arc<Self>>, deadline: Instant, why_down: F,
    ) -> Result<Self>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Option<Error>>,
    {
        let mut rounds = 0_u32;
        let mut refused_since = None;
        let awaited = format!("{}:{} to be reached over SSH", target.address, target.port);
        let wait = event::wait_for(&awaited);
        loop {
            let error = match timeout(ATTEMPT, Self::attempt(target, via.clone())).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(Attempt::Final(error))) => return Err(error),
                Ok(Err(Attempt::Refused(error))) => {
                    let since = *refused_since.get_or_insert_with(Instant::now);
                    if target.known && since.elapsed() >= REFUSALS {
                        return Err(error.hint(format!(
                            "it was accepted before: the login or its keys were changed on the machine. {}",
                            target.replace
                        )));
                    }
                    error
                }
                Ok(Err(Attempt::Again(error))) => error,
                Err(_) => Error::new("no answer"),
            };
            rounds += 1;
            if rounds.is_multiple_of(5)
                && let Some(reason) = why_down().await
            {
                return Err(reason);
            }
            if Instant::now() >= deadline {
                return Err(error.context(format!("{}:{} cannot be reached over SSH", target.address, target.port)));
            }
            wait.is_for(format!("{awaited} ({error})"));
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attempt(target: &Target, via: Option<Arc<Self>>) -> Result<Self, Attempt> {
        let keys: Result<Vec<PublicKey>, _> = target.host_keys.iter().map(|key| PublicKey::from_openssh(key)).collect();
        let keys =
            keys.map_err(|error| Attempt::Final(Error::new(format!("the pinned host key cannot be read: {error}"))))?;
        let shown = Arc::new(OnceLock::new());
        let handler = Pinned { keys, shown: Arc::clone(&shown) };
        let mut handle = if let Some(bastion) = &via {
            let _permit = bastion.handshakes.acquire().await.map_err(|_| Attempt::Again(Error::new("closed")))?;
            let stream = bastion.tunnel(&target.address, target.port).await.map_err(Attempt::Again)?;
            client::connect_stream(config(), stream, handler).await.map_err(|error| refused(error, target))?
        } else {
            let stream = TcpStream::connect((target.address.as_str(), target.port));
            let stream = stream.await.map_err(|error| Attempt::Again(error.into()))?;
            stream.set_nodelay(true).map_err(|error| Attempt::Again(error.into()))?;
            client::connect_stream(config(), stream, handler).await.map_err(|error| refused(error, target))?
        };
        authenticate(&mut handle, target).await?;
        let host_key = shown.get().and_then(|at| target.host_keys.get(*at)).cloned().unwrap_or_default();
        Ok(Self {
            handle,
            login: target.login.clone(),
            host_key,
            shells: Shells::default(),
            handshakes: Semaphore::new(HANDSHAKES),
            _via: via,
        })
    }

    async fn tunnel(&self, host: &str, port: u16) -> Result<impl Stream + 'static> {
        let channel = in_time(self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0)).await;
        Ok(channel.context(|| format!("{host}:{port} cannot be reached from there"))?.into_stream())
    }

    /// A user of `None` and the login itself are the same shell.
    fn user<'a>(&self, user: Option<&'a str>) -> Option<&'a str> {
        user.filter(|user| *user != self.login)
    }

    async fn open(&self, user: Option<&str>) -> Result<Shell> {
        let channel = self.session().await?;
        // A login shell may read heavy start files; it is replaced at once and never used again.
        in_time(channel.exec(true, user.map_or_else(|| sh!("exec /bin/sh"), become_command).text())).await?;
        let (shell, feed) = Shell::new(channel.make_writer(), user)?;
        tokio::spawn(read(channel, feed));
        Ok(shell)
    }

    /// The host key that the machine has shown: one of those that are accepted.
    #[must_use]
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    /// Opens a session channel, for an interactive shell or one command.
    ///
    /// # Errors
    /// When the host refuses, or does not answer.
    pub async fn session(&self) -> Result<Channel<Msg>> {
        in_time(self.handle.channel_open_session()).await
    }
}

/// Passes on what a channel prints. It never waits: a channel that is not read stops the whole connection, and with a bastion
/// those of all machines behind it.
async fn read(mut channel: Channel<Msg>, feed: Feed) {
    let mut status = None;
    loop {
        let message = tokio::select! {
            message = channel.wait() => message,
            () = feed.closed() => break,
        };
        let wanted = match message {
            Some(ChannelMsg::Data { data }) => feed.out(&data),
            Some(ChannelMsg::ExtendedData { data, .. }) => feed.err(&data),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                status = Some(exit_status);
                true
            }
            Some(ChannelMsg::Failure) => feed.err(b"the machine refuses to run commands over SSH"),
            Some(_) => true,
            None => break,
        };
        if !wanted {
            break;
        }
    }
    feed.end(status);
    // The other end may be gone already.
    let _ = channel.close().await;
}

enum Attempt {
    /// Waiting may help.
    Again(Error),
    /// The login is refused: waiting helps while the machine boots.
    Refused(Error),
    /// Waiting does not help.
    Final(Error),
}

fn refused(error: russh::Error, target: &Target) -> Attempt {
    match error {
        russh::Error::UnknownKey => Attempt::Final(
            Error::new("the host shows another key than the one that is pinned: this is not our machine")
                .hint("it may be another machine that answers in its place: find out before you go on")
                .hint(format!("if its host key was changed on the machine itself: {}", target.replace)),
        ),
        other => Attempt::Again(other.into()),
    }
}

/// The environment's own key first, then the user's agent: keys of the file may open machines too.
async fn authenticate(handle: &mut Handle<Pinned>, target: &Target) -> Result<(), Attempt> {
    let key = PrivateKey::from_openssh(target.key.expose())
        .map_err(|error| Attempt::Final(Error::new(format!("the environment's key cannot be read: {error}"))))?;
    let again = |error: russh::Error| Attempt::Again(error.into());
    let own = handle.authenticate_publickey(&target.login, PrivateKeyWithHashAlg::new(Arc::new(key), None));
    if own.await.map_err(again)?.success() {
        return Ok(());
    }
    if let Ok(mut agent) = AgentClient::connect_env().await {
        for identity in agent.request_identities().await.unwrap_or_default() {
            let key = identity.public_key().into_owned();
            let accepted = handle.authenticate_publickey_with(&target.login, key, None, &mut agent).await;
            if accepted.is_ok_and(|result| result.success()) {
                return Ok(());
            }
        }
    }
    // While a machine boots, its sshd may answer before the login exists.
    Err(Attempt::Refused(Error::new(format!("the login `{}` is refused", target.login))))
}

#[async_trait]
impl Transport for Ssh {
    async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>> {
        let user = self.user(user);
        self.shells.run(user, scripts, || self.open(user)).await
    }

    async fn pour(&self, user: Option<&str>, script: &Script, source: &mut Source<'_>) -> Result<Output> {
        let command = match self.user(user) {
            None => sh!("exec /bin/sh -c {0}", frame::RECEIVE),
            Some(user) => sh!("{0} -c {1}", become_command(user), frame::RECEIVE),
        };
        let mut channel = self.session().await?;
        in_time(channel.exec(false, command.text())).await?;
        let mut writer = channel.make_writer();
        let send = async move {
            // A script that ends before it has read everything says itself why.
            let first = frame::first_line(&script.text);
            let written = timeout(WRITE_LIMIT, writer.write_all(&first)).await.map_err(|_| unread())?;
            if written.is_ok() {
                pour(source, &mut writer).await?;
                let _ = timeout(WRITE_LIMIT, writer.shutdown()).await;
            }
            Ok(())
        };
        let receive = async {
            let (mut answer, mut status) = (Answer::default(), None);
            while let Some(message) = channel.wait().await {
                let wanted = match message {
                    ChannelMsg::Data { data } => answer.out(&data),
                    ChannelMsg::ExtendedData { data, .. } => answer.err(&data),
                    ChannelMsg::ExitStatus { exit_status } => {
                        status = i32::try_from(exit_status).ok();
                        true
                    }
                    _ => true,
                };
                if !wanted {
                    break;
                }
            }
            // The other end may be gone already.
            let _ = channel.close().await;
            Ok(answer.end(status))
        };
        let output = finish(script, send, receive).await?;
        if output.status.is_none() && output.failure.is_none() {
            let said = output.err().trim().to_owned();
            return Err(Error::new(if said.is_empty() { "the connection is lost".to_owned() } else { said }));
        }
        Ok(output)
    }

    async fn ping(&self) -> Result<()> {
        Ok(self.handle.send_ping().await?)
    }

    async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn Stream>> {
        Ok(Box::new(self.tunnel(host, port).await?))
    }
}

/// What a machine has to answer before anything runs in a channel.
async fn in_time<T>(work: impl Future<Output = Result<T, russh::Error>>) -> Result<T> {
    match timeout(START_LIMIT, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Error::new(format!("the machine has not opened a channel within {} s", START_LIMIT.as_secs()))),
    }
}
