//! Actions that write files, in folders of another user: `template`, `get_url`, and `uri` with `dest`, as plays on this machine.
//! `writer.rs` has the modules.

use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use infra::{
    event::{Ended, Event},
    remote::Local,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    hostile::play,
    writer::{Attack, OTHER, is_root, names},
};

/// A server that answers every request with the same few bytes.
async fn server() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 8192];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbad").await;
            });
        }
    });
    format!("http://{address}/f")
}

/// What is ours, and a folder of another user.
struct Folders {
    _root: tempfile::TempDir,
    ours: PathBuf,
    theirs: PathBuf,
}

impl Folders {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let (ours, theirs) = (root.path().join("ours"), root.path().join("theirs"));
        for path in [&theirs, &ours] {
            std::fs::create_dir(path).unwrap();
        }
        std::fs::set_permissions(&ours, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(ours.join("victim"), "precious").unwrap();
        std::fs::set_permissions(ours.join("victim"), std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(&theirs, Some(OTHER), Some(OTHER)).unwrap();
        Self { _root: root, ours, theirs }
    }

    fn link(&self, name: &str, to: &Path) {
        symlink(to, self.theirs.join(name)).unwrap();
        lchown(self.theirs.join(name), Some(OTHER), Some(OTHER)).unwrap();
    }

    fn check(&self, what: &str) {
        let victim = self.ours.join("victim");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious", "{what}");
        let metadata = victim.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (0, 0o600), "{what}");
        assert_eq!(names(&self.ours), ["victim"], "{what}");
        assert_eq!(self.ours.metadata().unwrap().mode() & 0o7777, 0o700, "{what}");
    }
}

/// Runs one task on this machine as the host, and says why it failed, if it did.
async fn run(task: &str) -> Option<String> {
    let tasks = format!("    - {task}\n");
    let here = || Arc::new(Local::default());
    let (_, events) = play(&tasks, here(), here(), Duration::from_mins(1)).await;
    events.into_iter().find_map(|event| match event {
        Event::TaskEnded { host, ended: Ended::Failed, detail, .. } if host == "bad" => {
            Some(detail.unwrap_or_default())
        }
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_follow_no_links_of_another_user() {
    if !is_root() {
        return;
    }
    let (folders, url) = (Folders::new(), server().await);
    folders.link("file", &folders.ours.join("victim"));
    folders.link("conf", &folders.ours);
    let theirs = folders.theirs.display();
    for task in [
        format!("template: {{src: source, dest: {theirs}/file, follow: true}}"),
        format!("template: {{src: source, dest: {theirs}/conf/new}}"),
        format!("template: {{src: source, dest: {theirs}/conf/victim, mode: '0644'}}"),
        format!("get_url: {{url: '{url}', dest: {theirs}/conf/new}}"),
        format!("get_url: {{url: '{url}', dest: {theirs}/conf}}"),
        format!("get_url: {{url: '{url}', dest: {theirs}/conf/victim, force: true, mode: '0644'}}"),
        format!("uri: {{url: '{url}', dest: {theirs}/conf/new}}"),
        format!("uri: {{url: '{url}', dest: {theirs}/conf}}"),
        format!("uri: {{url: '{url}', dest: {theirs}/conf/victim, mode: '0644'}}"),
    ] {
        let failure = run(&task).await;
        folders.check(&task);
        assert!(failure.as_ref().is_some_and(|text| text.contains("it is not followed")), "{task}: {failure:?}");
    }
    // What is fetched is kept where no one else can change it until it is in its place.
    for within in [folders.theirs.clone(), folders.theirs.join("conf"), folders.theirs.join("inner")] {
        let _ = std::fs::create_dir(folders.theirs.join("inner"));
        let task =
            format!("get_url: {{url: '{url}', dest: {}/new, tmp_dest: {}}}", folders.ours.display(), within.display());
        let failure = run(&task).await;
        folders.check(&task);
        let refused = ["can be changed by another user", "it is not followed"];
        let is_refused = |text: &String| refused.iter().any(|why| text.contains(why));
        assert!(failure.as_ref().is_some_and(is_refused), "{task}: {failure:?}");
    }
    // A link that is replaced and not followed is no danger.
    assert_eq!(run(&format!("get_url: {{url: '{url}', dest: {theirs}/file, force: true}}")).await, None);
    assert_eq!(std::fs::read_to_string(folders.theirs.join("file")).unwrap(), "bad");
    folders.check("a link that is replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn races_against_actions_are_not_won() {
    if !is_root() {
        return;
    }
    let (folders, url) = (Folders::new(), server().await);
    let theirs = folders.theirs.display().to_string();
    let attack = Attack::begin(&folders.theirs, &folders.ours);
    for round in 0..6 {
        for task in [
            format!("template: {{src: source, dest: {theirs}/template{round}, mode: '0600'}}"),
            format!("get_url: {{url: '{url}', dest: {theirs}/fetched{round}, mode: '0600'}}"),
            format!("get_url: {{url: '{url}', dest: {theirs}/other{round}, tmp_dest: {theirs}, mode: '0600'}}"),
            format!("uri: {{url: '{url}', dest: {theirs}/answered{round}, mode: '0600'}}"),
        ] {
            run(&task).await;
            folders.check(&task);
        }
    }
    println!("{} attacks", attack.end());
    for entry in std::fs::read_dir(&folders.theirs).unwrap().flatten() {
        let (name, metadata) = (entry.file_name(), entry.path().symlink_metadata().unwrap());
        if metadata.is_file() {
            assert_eq!((metadata.uid(), metadata.mode() & 0o777), (0, 0o600), "{name:?} is ours and whole");
        }
    }
}
