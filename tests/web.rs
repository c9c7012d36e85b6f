//! `uri` and `get_url` against a server of this test, on this machine as a host.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use infra::{
    configure::world,
    error::Result,
    event::Events,
    playbook::{Connections, Inventory, Loader, Options, Recap, SearchPath, run},
    remote::{Local, Transport},
    template::Engine,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;

struct Here(Arc<Local>);

#[async_trait]
impl Connections for Here {
    async fn connect(&self, _: &str) -> Result<Arc<dyn Transport>> {
        Ok(Arc::<Local>::clone(&self.0))
    }
}

/// A server that notes what it is asked and answers by a function of the first line.
pub(crate) async fn serve(
    answer: impl Fn(&str) -> String + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (notes, answer) = (Arc::clone(&asked), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (notes, answer) = (Arc::clone(&notes), Arc::clone(&answer));
            tokio::spawn(async move {
                let mut request = vec![0; 1 << 16];
                let mut text = String::new();
                while !text.contains("\r\n\r\n") || (text.contains("content-length: 4") && !text.ends_with("body")) {
                    match stream.read(&mut request).await {
                        Ok(count @ 1..) => text += &String::from_utf8_lossy(&request[..count]),
                        _ => return,
                    }
                }
                let reply = answer(&text);
                notes.lock().unwrap().push(text);
                let _ = stream.write_all(reply.as_bytes()).await;
            });
        }
    });
    (address, asked)
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn to(status: u16, address: &str) -> String {
    format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {address}\r\nContent-Length: 0\r\n\r\n")
}

pub(crate) async fn play(tasks: &str, check: bool) -> (Recap, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("play.yml");
    std::fs::write(&path, format!("- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}")).unwrap();
    let engine = Engine::default();
    let loader = Arc::new(Loader::new(SearchPath::default(), engine.clone()));
    let plays = loader.playbooks(&[path]).unwrap_or_else(|error| panic!("{error}\n{tasks}"));
    let inventory = Inventory { hosts: vec!["here".into()], ..Inventory::default() };
    let world = world(inventory, SearchPath::default(), &engine, check);
    let (events, mut told) = Events::channel();
    let options = Options { check, ..Options::default() };
    let connections = Arc::new(Here(Arc::default()));
    let recap = run(world, loader, plays, connections, options, &events, CancellationToken::new()).await.unwrap();
    drop(events);
    let mut all = String::new();
    while let Some(event) = told.recv().await {
        all += &serde_json::to_string(&event).unwrap();
    }
    (recap, all)
}

#[tokio::test]
async fn check_mode_sends_nothing() {
    let (server, asked) = serve(|_| ok("x")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f").display().to_string();
    let tasks = format!(
        "    - uri: {{url: {server}/customers/1, method: DELETE}}\n    \
         - get_url: {{url: {server}/f, dest: {file}, checksum: 'sha1:{server}/sums'}}\n    \
         - pause: {{prompt: Really?}}\n    - pause: {{minutes: 100}}\n"
    );
    let (recap, told) = play(&tasks, true).await;
    assert!(recap.succeeded(), "{told}");
    assert_eq!((recap.hosts["here"].skipped, recap.hosts["here"].changed), (3, 1));
    assert!(asked.lock().unwrap().is_empty());
    assert!(!std::path::Path::new(&file).exists());
}

#[tokio::test]
async fn creates_removes_and_dest_are_done() {
    let (server, asked) = serve(|_| ok("content")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f").display().to_string();
    let tasks = format!(
        "    - uri: {{url: {server}/a, method: POST, creates: /etc/hostname}}\n    \
         - uri: {{url: {server}/b, method: POST, removes: {file}}}\n    \
         - uri: {{url: {server}/c, dest: {file}, mode: '0600'}}\n      register: first\n    \
         - uri: {{url: {server}/c, dest: {file}, force: true}}\n      register: second\n    \
         - assert: {{that: [first is changed, second is not changed, first.path == '{file}']}}\n"
    );
    let (recap, told) = play(&tasks, false).await;
    assert!(recap.succeeded(), "{told}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "content");
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].contains("cache-control: no-cache"), "{}", asked[1]);
}

#[tokio::test]
async fn credentials_and_bodies_stay_with_their_origin() {
    let (other, elsewhere) = serve(|_| ok("other")).await;
    let target = other.clone();
    let (server, asked) = serve(move |request| {
        let status = if request.starts_with("POST /307") || request.starts_with("GET /307") { 307 } else { 302 };
        if request.contains("/here") {
            ok("here")
        } else if request.contains("/own") {
            to(status, "/here")
        } else {
            to(status, &target)
        }
    })
    .await;
    let login = "url_username: u, url_password: p, force_basic_auth: true, headers: {X-Token: t, Accept: text/x}";
    let tasks = format!(
        "    - uri: {{url: {server}/302, {login}}}\n      register: read\n    \
         - assert: {{that: [read.redirected, \"read.url == '{other}/'\"]}}\n    \
         - uri: {{url: {server}/own, {login}}}\n    \
         - uri: {{url: {server}/302, method: POST, body: body, {login}}}\n      register: safe\n      ignore_errors: true\n    \
         - assert: {{that: [safe is failed, safe.status == 302]}}\n    \
         - uri: {{url: {server}/302, method: POST, body: body, follow_redirects: all, {login}}}\n    \
         - uri: {{url: {server}/307, method: POST, body: body, follow_redirects: all, {login}}}\n      register: kept\n      ignore_errors: true\n    \
         - assert: {{that: [kept is failed, \"'another origin' in kept.msg\"]}}\n"
    );
    let (recap, told) = play(&tasks, false).await;
    assert!(recap.succeeded(), "{told}");
    let elsewhere = elsewhere.lock().unwrap();
    assert_eq!(elsewhere.len(), 2, "{elsewhere:?}");
    for request in elsewhere.iter() {
        assert!(request.starts_with("GET /") && request.contains("accept: text/x"), "{request}");
        assert!(
            !request.contains("authorization") && !request.contains("x-token") && !request.contains("body"),
            "{request}"
        );
    }
    // Within one origin they go along.
    let asked = asked.lock().unwrap();
    let own = asked.iter().find(|request| request.contains("GET /here")).unwrap();
    assert!(own.contains("authorization: Basic") && own.contains("x-token: t"), "{own}");
}

/// As in Ansible, credentials are given when the server asks for them, unless `force_basic_auth` says otherwise.
#[tokio::test]
async fn credentials_wait_until_they_are_asked_for() {
    let (server, asked) = serve(|request| {
        if request.contains("authorization") {
            ok("in")
        } else {
            "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n".to_owned()
        }
    })
    .await;
    let (recap, told) = play(&format!("    - uri: {{url: {server}/, user: u, password: p}}\n"), false).await;
    assert!(recap.succeeded(), "{told}");
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn every_checksum_is_verified() {
    let md5 = "9a0364b9e99bb480dd25e1f0284c8555";
    let (server, _) =
        serve(move |request| if request.contains("/sums") { ok(&format!("{md5}  f\n")) } else { ok("content") }).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let zeros = "0".repeat(32);
    let tasks = format!(
        "    - get_url: {{url: {server}/f, dest: {0}, checksum: 'md5:{zeros}', tmp_dest: {4}}}\n      register: wrong\n      ignore_errors: true\n    \
         - get_url: {{url: {server}/f, dest: {0}, checksum: 'crc32:1'}}\n      register: unknown\n      ignore_errors: true\n    \
         - assert: {{that: [wrong is failed, \"'checksum' in wrong.msg\", unknown is failed, \"'crc32' in unknown.msg\"]}}\n    \
         - stat: {{path: {0}}}\n      register: gone\n    - assert: {{that: not gone.stat.exists}}\n    \
         - get_url: {{url: {server}/f, dest: {1}, checksum: 'md5:{md5}', tmp_dest: {4}}}\n      register: first\n    \
         - get_url: {{url: {server}/f, dest: {2}, checksum: 'md5:{server}/sums', mode: '0600', tmp_dest: {4}}}\n    \
         - get_url: {{url: {server}/f, dest: {1}, checksum: 'md5:{md5}'}}\n      register: again\n    \
         - assert: {{that: [first is changed, again is not changed]}}\n    \
         - get_url: {{url: '{server}/f?x=/y', dest: {3}, tmp_dest: {4}}}\n",
        file("no"),
        file("one"),
        file("two"),
        folder.path().display(),
        file(""),
    );
    let (recap, told) = play(&tasks, false).await;
    assert!(recap.succeeded(), "{told}");
    for name in ["one", "two", "f"] {
        assert_eq!(std::fs::read_to_string(file(name)).unwrap(), "content", "{name}");
    }
    let mode = |name: &str| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file(name)).unwrap().permissions()) & 0o777
    };
    assert_eq!((mode("one"), mode("two")), (0o644, 0o600));
    // Nothing of the downloads is left.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[tokio::test]
async fn a_question_without_a_terminal_is_not_passed() {
    let tasks = "    - pause: {prompt: Really delete everything?}\n      register: asked\n      ignore_errors: true\n    \
                 - assert: {that: [asked is failed, \"'no terminal' in asked.msg\"]}\n    \
                 - pause: {prompt: Soon, seconds: 0}\n    - pause: {seconds: 1e999}\n      register: odd\n      ignore_errors: true\n    \
                 - assert: {that: odd is failed}\n";
    let (recap, told) = play(tasks, false).await;
    assert!(recap.succeeded(), "{told}");
}

/// What `uri`, `get_url` and `template` write goes through the one writer: a link of another user in the place of a folder is not
/// followed, and one in the place of the file is replaced.
#[tokio::test]
async fn what_is_fetched_or_rendered_follows_no_links_of_another_user() {
    use std::os::unix::fs::{chown, lchown, symlink};

    const OTHER: u32 = 65534;
    let folder = tempfile::tempdir().unwrap();
    let (theirs, ours) = (folder.path().join("theirs"), folder.path().join("ours"));
    for path in [&theirs, &ours] {
        std::fs::create_dir(path).unwrap();
    }
    if chown(&theirs, Some(OTHER), None).is_err() {
        // Only root gives files away.
        return;
    }
    std::fs::write(ours.join("victim"), "precious").unwrap();
    for (name, to) in [("conf", ours.clone()), ("file", ours.join("victim"))] {
        symlink(to, theirs.join(name)).unwrap();
        lchown(theirs.join(name), Some(OTHER), None).unwrap();
    }
    std::fs::write(folder.path().join("t.j2"), "rendered").unwrap();
    let (server, _) = serve(|_| ok("fetched")).await;
    let (dest, src) = (theirs.display(), folder.path().join("t.j2").display().to_string());
    let mut tasks = String::new();
    for (name, action) in [
        ("uri", format!("uri: {{url: {server}/a, dest: {dest}/conf/NAME}}")),
        ("get_url", format!("get_url: {{url: {server}/a, dest: {dest}/conf/NAME, force: true}}")),
        ("template", format!("template: {{src: {src}, dest: {dest}/conf/NAME}}")),
    ] {
        for file in ["new", "victim"] {
            tasks += &format!("    - {}\n", action.replace("NAME", file));
            tasks += &format!("      register: {name}\n      ignore_errors: true\n");
            tasks += &format!("    - assert: {{that: [{name} is failed, \"'it is not followed' in {name}.msg\"]}}\n");
        }
        tasks += &format!("    - {}\n", action.replace("conf/NAME", "file"));
        tasks +=
            &format!("    - file: {{path: {dest}/file, src: {}/victim, state: link, force: true}}\n", ours.display());
    }
    let (recap, told) = play(&tasks, false).await;
    assert!(recap.succeeded(), "{told}");
    assert_eq!(std::fs::read_to_string(ours.join("victim")).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(&ours).unwrap().count(), 1);
}
