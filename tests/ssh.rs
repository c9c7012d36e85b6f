//! Connections to a machine of this test that speaks SSH, and does what real ones do on a bad day.

use std::{sync::Arc, time::Duration};

use infra::{
    identity::{SshKey, ssh_key},
    remote::{
        START_LIMIT, Transport,
        ssh::{Ssh, Target},
    },
};
use russh::{
    Channel,
    keys::PrivateKey,
    server::{self, Auth, ChannelOpenHandle, Msg, Session, VerifiedPublicKey},
};
use tokio::{net::TcpListener, time::Instant};

/// It lets everyone in, and never says whether it opens a tunnel.
#[derive(Default)]
struct Machine {
    asked: Vec<ChannelOpenHandle>,
}

impl server::Handler for Machine {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_direct_tcpip(
        &mut self, _: Channel<Msg>, _: &str, _: u32, _: &str, _: u32, reply: ChannelOpenHandle, _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.asked.push(reply);
        Ok(())
    }
}

/// A machine, and its host key.
async fn machine() -> (u16, SshKey) {
    let key = ssh_key("host").unwrap();
    let private = PrivateKey::from_openssh(key.private.expose()).unwrap();
    let config = Arc::new(server::Config { keys: vec![private], ..server::Config::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let config = Arc::clone(&config);
            tokio::spawn(async move {
                if let Ok(session) = server::run_stream(config, stream, Machine::default()).await {
                    let _ = session.await;
                }
            });
        }
    });
    (port, key)
}

fn target(port: u16, host_key: &str) -> Target {
    Target {
        address: "127.0.0.1".to_owned(),
        port,
        login: "debian".to_owned(),
        host_keys: vec![host_key.to_owned()],
        known: true,
        replace: "infra apply dev --replace vm.a".to_owned(),
        key: ssh_key("own").unwrap().private,
    }
}

#[tokio::test]
async fn a_tunnel_that_is_never_opened_is_given_up() {
    let (port, key) = machine().await;
    let deadline = Instant::now() + Duration::from_secs(30);
    let ssh = Ssh::connect(&target(port, &key.public), None, deadline, || async { None }).await.unwrap();
    tokio::time::pause();
    let begun = Instant::now();
    let dialled = tokio::time::timeout(START_LIMIT * 2, ssh.dial("10.0.0.9", 80)).await;
    let error = dialled.expect("it has a limit of its own").err().unwrap().to_string();
    assert!(error.contains("10.0.0.9:80 cannot be reached from there"), "{error}");
    assert!(begun.elapsed() >= START_LIMIT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn another_host_key_ends_it_at_once_and_says_what_to_do() {
    let (port, _) = machine().await;
    let other = ssh_key("other").unwrap();
    let deadline = Instant::now() + Duration::from_hours(1);
    let connected = Ssh::connect(&target(port, &other.public), None, deadline, || async { None }).await;
    let error = connected.err().unwrap();
    assert!(error.to_string().contains("the host shows another key than the one that is pinned"), "{error}");
    let hints = error.hints().join("\n");
    assert!(hints.contains("find out before you go on"), "{hints}");
    assert!(hints.contains("if its host key was changed") && hints.contains("--replace vm.a"), "{hints}");
}
