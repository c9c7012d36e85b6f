//! Arguments of actions that no other test gives: of `uri` and `get_url` against a server of this test, and of what works on
//! variables, roles and people.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use infra::{
    identity::{authority, server_certificate},
    playbook::{Asker, Options},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    trips::{execs, execs_with},
    web::{ok, play, serve},
};

/// The SHA-256 of `x`.
const DIGEST: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

#[tokio::test]
async fn requests_carry_a_login_and_a_name_and_files_get_an_owner() {
    let (server, asked) = serve(|_| ok("x")).await;
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().display();
    for name in ["answer", "fetched"] {
        std::fs::write(folder.path().join(name), "old").unwrap();
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let tasks = format!(
        "    - uri: {{url: '{server}/a', url_username: ann, url_password: s3, force_basic_auth: true, http_agent: probe,\n              \
         dest: {base}/answer, owner: '{uid}', group: '{gid}', backup: true}}\n      register: answer\n    \
         - get_url: {{url: '{server}/b', url_username: ann, url_password: s3, force_basic_auth: true, http_agent: probe,\n              \
         dest: {base}/fetched, sha256sum: {DIGEST}, owner: '{uid}', group: '{gid}', backup: true, force: true}}\n      register: fetched\n    \
         - get_url: {{url: '{server}/c', username: ann, password: s3, force_basic_auth: true, dest: {base}/c}}\n    \
         - get_url: {{url: '{server}/d', dest: {base}/d, sha256sum: {}}}\n      register: wrong\n      ignore_errors: true\n    \
         - get_url: {{url: '{server}/e', dest: {base}/e, owner: nobody-of-this-name}}\n      register: stranger\n      ignore_errors: true\n    \
         - uri: {{url: '{server}/f', dest: {base}/f, group: nobody-of-this-name}}\n      register: strangers\n      ignore_errors: true\n    \
         - assert:\n        that:\n          - answer.backup_file is defined and fetched.backup_file is defined\n          \
         - wrong is failed and 'checksum' in wrong.msg\n          - stranger is failed and strangers is failed\n",
        "0".repeat(64)
    );
    let (recap, said) = play(&tasks, false).await;
    assert!(recap.succeeded(), "{said}");
    let asked = asked.lock().unwrap();
    for path in ["/a ", "/b ", "/c "] {
        let request = asked.iter().find(|request| request.contains(path)).unwrap().to_ascii_lowercase();
        assert!(request.contains("authorization: basic yw5uonmz"), "{request}");
        assert!(path == "/c " || request.contains("user-agent: probe"), "{request}");
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("fetched")).unwrap(), "x");
    assert!(!folder.path().join("d").exists());
}

#[tokio::test]
async fn certificates_are_checked_as_they_are_asked_to_be() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = authority("test", 2026).unwrap();
    let certificate = server_certificate("test", &ca, &["127.0.0.1".to_owned()], 2026).unwrap();
    let chain = rustls::pki_types::pem::PemObject::from_pem_slice(certificate.certificate.as_bytes()).unwrap();
    let key = rustls::pki_types::pem::PemObject::from_pem_slice(certificate.key.expose().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![chain], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not accept the certificate goes away.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = vec![0; 8192];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(ok("x").as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().display();
    std::fs::write(folder.path().join("ca.pem"), &ca.certificate).unwrap();
    let tasks = format!(
        "    - uri: {{url: '{server}/'}}\n      register: one\n      ignore_errors: true\n    \
         - get_url: {{url: '{server}/', dest: {base}/a}}\n      register: two\n      ignore_errors: true\n    \
         - uri: {{url: '{server}/', validate_certs: false}}\n    \
         - get_url: {{url: '{server}/', dest: {base}/b, validate_certs: false}}\n    \
         - uri: {{url: '{server}/', ca_path: {base}/ca.pem}}\n    \
         - get_url: {{url: '{server}/', dest: {base}/c, ca_path: {base}/ca.pem}}\n    \
         - assert: {{that: [one is failed, two is failed]}}\n"
    );
    let (recap, said) = play(&tasks, false).await;
    assert!(recap.succeeded(), "{said}");
    let is_there = ["a", "b", "c"].map(|name| folder.path().join(name).exists());
    assert_eq!(is_there, [false, true, true]);
}

#[tokio::test]
async fn variables_and_roles_follow_their_arguments() {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("roles/r/tasks/main.yml", "- set_fact: {ran: \"{{ ran | default([]) + ['main'] }}\"}\n"),
        ("roles/r/tasks/other.yml", "- set_fact: {ran: \"{{ ran | default([]) + ['other'] }}\"}\n"),
        ("roles/r/meta/argument_specs.yml", "argument_specs: {main: {options: {needed: {required: true}}}}\n"),
        ("inner.yml", "- set_fact: {ran: \"{{ ran + ['inner'] }}\"}\n"),
        ("more.yml", "color: red\n"),
    ] {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let playbook = "
- hosts: all
  gather_facts: false
  tasks:
    - include_role: {role: r, tasks_from: other}
    - import_role: {role: r, rolespec_validate: false}
    - include: {file: inner.yml}
    - include_vars: {file: more.yml, name: more}
    - ping: {data: there}
      register: pinged
    - debug: {msg: for those who look closely, verbosity: 2}
    - wait_for_connection: {timeout: 5, sleep: never}
      register: waited
      ignore_errors: true
    - validate_argument_spec:
        argument_spec: {size: {type: int}, name: {required: true}}
        provided_arguments: {size: large}
        validate_args_context: {name: r}
      register: wrong
      ignore_errors: true
    - assert:
        that:
          - ran == ['other', 'main', 'inner']
          - more.color == 'red' and color is undefined
          - pinged.ping == 'there'
          - waited is failed and '`sleep`' in waited.msg
          - wrong.argument_errors | length == 2
          - wrong.validate_args_context.name == 'r'
";
    execs(playbook, folder.path()).await;
}

#[derive(Debug, Default)]
struct Person(Mutex<Vec<(String, bool)>>);

#[async_trait]
impl Asker for Person {
    async fn ask(&self, question: &str, echo: bool) -> Option<String> {
        self.0.lock().unwrap().push((question.to_owned(), echo));
        Some("word".to_owned())
    }
}

#[tokio::test]
async fn what_is_typed_is_seen_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let person = Arc::new(Person::default());
    let options = Options { asker: Some(Arc::<Person>::clone(&person)), ..Options::default() };
    let playbook = "
- hosts: all
  gather_facts: false
  tasks:
    - pause: {prompt: word, echo: false}
      register: hidden
    - pause: {prompt: name}
    - assert: {that: [hidden.user_input == 'word']}
";
    execs_with(playbook, folder.path(), options).await;
    let asked = person.0.lock().unwrap();
    let echoes: Vec<bool> = asked.iter().map(|(_, echo)| *echo).collect();
    assert_eq!(echoes, [false, true], "{asked:?}");
}

/// What was asked of the host before a request is not believed after it: the request may have changed the host.
#[tokio::test]
async fn what_a_request_has_changed_is_seen_by_the_next_task() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    let here = made.clone();
    let (server, _) = serve(move |_| {
        std::fs::write(&here, "").unwrap();
        ok("x")
    })
    .await;
    let made = made.display();
    let tasks = format!(
        "    - stat: {{path: {made}}}\n      register: before\n    - uri: {{url: '{server}/make'}}\n    - stat: {{path: {made}}}\n      \
         register: after\n    - assert: {{that: [not before.stat.exists, after.stat.exists]}}\n"
    );
    let (recap, said) = play(&tasks, false).await;
    assert!(recap.succeeded(), "{said}");
}
