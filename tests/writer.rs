//! Files on a host: the scripts of modules, run for real on this machine. Where another user may write to a folder, what that
//! user puts there must not lead us anywhere.

use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use infra::{
    error::Result,
    modules::{Arguments, Folder, Outcome, Rendered, Sources, Step, find},
    remote::{Local, Output, Script, Transport},
    template::Layout,
};
use serde_json::{Value, json};

/// The user that is not us.
pub(crate) const OTHER: u32 = 65534;

/// One file beside the playbook, whatever its name.
struct Beside(Bytes);

impl Sources for Beside {
    fn file(&self, _: &str) -> Result<Bytes> {
        Ok(self.0.clone())
    }

    fn folder(&self, _: &str) -> Result<Option<Folder>> {
        Ok(None)
    }

    fn mode(&self, _: &str) -> Result<Option<u32>> {
        Ok(Some(0o750))
    }

    fn template(&self, _: &str, _: Layout) -> Result<Rendered> {
        Ok(Rendered::default())
    }
}

/// Runs a task on this machine: its probe, then its steps. The error of a decision is a failure like another.
async fn run_with(module: &str, args: Value, file: Bytes) -> Outcome {
    let local = Local::default();
    let named = args.as_object().unwrap().clone();
    let beside = Beside(file);
    let operation =
        find(module).unwrap().prepare(&Arguments { named: &named, free_form: None, sources: &beside }).unwrap();
    let seen = match operation.probe() {
        Some(probe) => local.exec(None, &[Script::probe(probe.read_only())]).await.unwrap().remove(0),
        None => Output::default(),
    };
    let decision = match operation.decide(&seen) {
        Ok(decision) => decision,
        Err(error) => return Outcome { failure: Some(error.to_string()), ..Outcome::default() },
    };
    let mut outputs = Vec::new();
    for step in &decision.steps {
        outputs.push(match step {
            Step::Run(script) => local.exec(None, &[Script::step(script.text())]).await.unwrap().remove(0),
            Step::Send { input, script } => {
                local.send(None, &Script::step(script.text()), input.clone()).await.unwrap()
            }
        });
        if !outputs.last().unwrap().succeeded() {
            break;
        }
    }
    operation.conclude(decision, &outputs)
}

async fn run(module: &str, args: Value) -> Outcome {
    run_with(module, args, Bytes::new()).await
}

/// A run that succeeds; whether it changed something.
async fn done(module: &str, args: Value) -> Outcome {
    let outcome = run(module, args.clone()).await;
    assert_eq!(outcome.failure, None, "{module}: {args}");
    outcome
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Tests with a second user need to be root.
pub(crate) fn is_root() -> bool {
    tempfile::tempdir().is_ok_and(|folder| chown(folder.path(), Some(OTHER), None).is_ok())
}

#[tokio::test]
async fn files_are_written_replaced_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it's -a file");
    let dest = path.to_str().unwrap();
    let outcome = done("copy", json!({"content": "one", "dest": dest, "mode": "u=rw,go="})).await;
    assert!(outcome.changed);
    assert_eq!((outcome.result["mode"].as_str(), outcome.result["size"].as_u64()), (Some("0600"), Some(3)));
    assert_eq!(outcome.result["state"], "file");
    assert!(!done("copy", json!({"content": "one", "dest": dest})).await.changed);
    // What replaces a file keeps its mode.
    let outcome = done("copy", json!({"content": "two", "dest": dest, "backup": true})).await;
    assert_eq!((read(&path).as_str(), mode(&path)), ("two", 0o600));
    assert_eq!(read(Path::new(outcome.result["backup_file"].as_str().unwrap())), "one");
    let outcome = done("copy", json!({"content": "three", "dest": dest, "force": false})).await;
    assert_eq!((outcome.changed, read(&path).as_str()), (false, "two"));
    let outcome = run("copy", json!({"content": "bad", "dest": dest, "validate": "grep -q good %s"})).await;
    assert!(outcome.failure.unwrap().contains("failed to validate"));
    assert_eq!(read(&path), "two");
    done("copy", json!({"content": "good", "dest": dest, "validate": "grep -q good %s"})).await;
    // A large one goes through a channel of its own.
    let large = "x".repeat(100_000);
    let outcome = done("copy", json!({"content": large, "dest": dest, "mode": "0640"})).await;
    assert_eq!(outcome.result["mode"], "0640");
    assert_eq!(read(&path).len(), 100_000);
    // Nothing is left over.
    assert_eq!(names(folder.path()).len(), 2);
}

#[tokio::test]
async fn links_are_replaced_or_followed_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    std::fs::write(&target, "a=1\r\nb=1\r\n").unwrap();
    symlink("target", &link).unwrap();
    // `lineinfile` follows, and keeps the ends of lines.
    done("lineinfile", json!({"path": link, "regexp": "^a=", "line": "a=2"})).await;
    assert!(link.is_symlink());
    assert_eq!(read(&target), "a=2\r\nb=1\r\n");
    done("copy", json!({"content": "x", "dest": link, "follow": true})).await;
    assert!(link.is_symlink());
    assert_eq!(read(&target), "x");
    assert!(!done("copy", json!({"content": "x", "dest": link, "follow": true})).await.changed);
    assert!(done("copy", json!({"content": "x", "dest": link})).await.changed);
    assert!(!link.is_symlink());
}

#[tokio::test]
async fn copies_on_the_host_honour_what_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (src, dest) = (folder.path().join("src"), folder.path().join("dest"));
    std::fs::write(&src, "new").unwrap();
    std::fs::set_permissions(&src, std::fs::Permissions::from_mode(0o750)).unwrap();
    std::fs::write(&dest, "custom").unwrap();
    let copy = |more: Value| {
        let mut args = json!({"src": src, "dest": dest, "remote_src": true});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        args
    };
    assert!(!done("copy", copy(json!({"force": false}))).await.changed);
    assert!(run("copy", copy(json!({"validate": "false %s"}))).await.failure.is_some());
    assert_eq!(read(&dest), "custom");
    let outcome = done("copy", copy(json!({"backup": true, "mode": "preserve"}))).await;
    assert_eq!((read(&dest).as_str(), mode(&dest)), ("new", 0o750));
    assert_eq!(read(Path::new(outcome.result["backup_file"].as_str().unwrap())), "custom");
    assert!(!done("copy", copy(json!({"mode": "preserve"}))).await.changed);
    // A folder: only what is missing or other is copied.
    let tree = folder.path().join("tree");
    std::fs::create_dir_all(tree.join("a/b")).unwrap();
    std::fs::write(tree.join("a/b/file"), "1").unwrap();
    symlink("a/b/file", tree.join("link")).unwrap();
    let into = folder.path().join("into");
    let args = json!({"src": tree, "dest": into, "remote_src": true});
    assert!(done("copy", args.clone()).await.changed);
    assert_eq!(read(&into.join("tree/a/b/file")), "1");
    assert!(into.join("tree/link").is_symlink());
    assert!(!done("copy", args.clone()).await.changed);
    std::fs::write(into.join("tree/a/b/file"), "2").unwrap();
    assert!(done("copy", args).await.changed);
    assert_eq!(read(&into.join("tree/a/b/file")), "1");
}

#[tokio::test]
async fn paths_get_states_and_attributes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let outcome = done("file", json!({"path": at("a/b/c"), "state": "directory", "mode": "0750"})).await;
    assert_eq!((mode(&at("a")), mode(&at("a/b/c"))), (0o750, 0o750));
    assert_eq!(outcome.result["mode"], "0750");
    assert!(done("file", json!({"path": at("-f"), "state": "touch", "mode": "0600"})).await.changed);
    assert_eq!(mode(&at("-f")), 0o600);
    done("file", json!({"path": at("-f"), "mode": "u+x"})).await;
    assert_eq!(mode(&at("-f")), 0o700);
    done("file", json!({"path": at("link"), "src": "-f", "state": "link"})).await;
    assert_eq!(std::fs::read_link(at("link")).unwrap(), Path::new("-f"));
    let hard = json!({"path": at("hard"), "src": at("-f"), "state": "hard"});
    assert!(done("file", hard.clone()).await.changed);
    assert_eq!(at("hard").metadata().unwrap().ino(), at("-f").metadata().unwrap().ino());
    assert!(!done("file", hard.clone()).await.changed);
    // Another file is replaced by force only, and a link to nothing is made by force only.
    std::fs::remove_file(at("hard")).unwrap();
    std::fs::write(at("hard"), "precious").unwrap();
    assert!(run("file", hard.clone()).await.failure.unwrap().contains("`force: true` replaces it"));
    assert_eq!(read(&at("hard")), "precious");
    let mut force = hard;
    force["force"] = true.into();
    assert!(done("file", force).await.changed);
    assert_eq!(at("hard").metadata().unwrap().ino(), at("-f").metadata().unwrap().ino());
    let dangling = json!({"path": at("dangling"), "src": "nowhere", "state": "link"});
    assert!(run("file", dangling.clone()).await.failure.unwrap().contains("does not exist"));
    assert!(!at("dangling").is_symlink());
    let mut force = dangling;
    force["force"] = true.into();
    assert!(done("file", force).await.changed);
    std::fs::remove_file(at("dangling")).unwrap();
    std::fs::write(at("a/b/file"), "").unwrap();
    let recurse = json!({"path": at("a"), "state": "directory", "mode": "u=rwX,go=", "recurse": true});
    assert!(done("file", recurse.clone()).await.changed);
    assert_eq!((mode(&at("a/b")), mode(&at("a/b/file"))), (0o700, 0o600));
    assert!(!done("file", recurse).await.changed);
    done("file", json!({"path": at("-f"), "state": "absent"})).await;
    done("file", json!({"path": at("a"), "state": "absent"})).await;
    assert_eq!(names(folder.path()), ["hard", "link"]);
}

/// Runs a task as [`run`] does, but with a command that runs `sh -c`, and gets its script as one more argument.
fn run_by(module: &str, args: &Value, command: impl Fn() -> std::process::Command) -> Outcome {
    let beside = Beside(Bytes::new());
    let named = args.as_object().unwrap().clone();
    let operation =
        find(module).unwrap().prepare(&Arguments { named: &named, free_form: None, sources: &beside }).unwrap();
    let asked = |script: &str, input: &[u8]| {
        let mut child = command();
        child.args(["-c", script]).stdin(std::process::Stdio::piped());
        let mut child =
            child.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        // What does not read it to its end has failed already.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input);
        let output = child.wait_with_output().unwrap();
        Output { status: output.status.code(), stdout: output.stdout, stderr: output.stderr, failure: None }
    };
    let seen = operation.probe().map_or_else(Output::default, |probe| asked(probe.text(), b""));
    let decision = match operation.decide(&seen) {
        Ok(decision) => decision,
        Err(error) => return Outcome { failure: Some(error.to_string()), ..Outcome::default() },
    };
    let mut outputs = Vec::new();
    for step in &decision.steps {
        outputs.push(match step {
            Step::Run(script) => asked(script.text(), b""),
            Step::Send { input, script } => asked(script.text(), input),
        });
        if !outputs.last().unwrap().succeeded() {
            break;
        }
    }
    operation.conclude(decision, &outputs)
}

/// What a task says of its failure.
fn said(outcome: &Outcome) -> String {
    format!("{} {}", outcome.failure.as_deref().unwrap_or_default(), json!(outcome.result))
}

/// On a disk that is full a command fails in the middle of its work: the old file is still there, nothing is left beside it, and
/// the task says why.
#[test]
fn a_full_disk_leaves_the_old_file() {
    for (program, content) in
        [("mv", "new\n".to_owned()), ("cat", "new\n".repeat(100_000)), ("mktemp", "new\n".to_owned())]
    {
        let (folder, tools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let fake = tools.path().join(program);
        let script = format!("#!/bin/sh\necho '{program}: write error: No space left on device' >&2\nexit 1\n");
        std::fs::write(&fake, script).unwrap();
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
        let file = folder.path().join("app.conf");
        std::fs::write(&file, "old\n").unwrap();
        let outcome = run_by("copy", &json!({"content": content, "dest": file}), || {
            let mut command = std::process::Command::new("/bin/sh");
            command.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", tools.path().display()));
            command
        });
        assert!(said(&outcome).contains("No space left on device"), "{program}: {}", said(&outcome));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "old\n", "{program}");
        assert_eq!(names(folder.path()), ["app.conf"], "{program}");
    }
}

/// What another user may not do is said in the words of the machine.
#[test]
fn a_permission_that_is_missing_is_named() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (file, closed) = (folder.path().join("app.conf"), folder.path().join("closed"));
    std::fs::write(&file, "old\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    for (module, args) in [
        ("copy", json!({"content": "new", "dest": file})),
        ("copy", json!({"content": "new", "dest": folder.path().join("other")})),
        ("lineinfile", json!({"path": file, "line": "new"})),
        ("blockinfile", json!({"path": file, "block": "new"})),
        ("slurp", json!({"src": file})),
        ("file", json!({"path": file, "mode": "0644"})),
        ("file", json!({"path": file, "state": "absent"})),
        ("file", json!({"path": folder.path().join("new"), "state": "directory"})),
    ] {
        let outcome = run_by(module, &args, || {
            let mut command = std::process::Command::new("/bin/sh");
            std::os::unix::process::CommandExt::uid(&mut command, OTHER);
            std::os::unix::process::CommandExt::gid(&mut command, OTHER);
            command.current_dir("/");
            command
        });
        let said = said(&outcome).to_lowercase();
        assert!(outcome.failure.is_some(), "{module} {args}: {said}");
        assert!(said.contains("permission denied") || said.contains("not permitted"), "{module} {args}: {said}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "old\n");
}

/// `chown` takes setuid bits and capabilities away, also from a file that has the right owner already.
#[tokio::test]
async fn owners_are_changed_only_where_they_differ() {
    let folder = tempfile::tempdir().unwrap();
    let [right, other] = ["-right", "other"].map(|name| folder.path().join(name));
    for file in [&right, &other] {
        std::fs::write(file, "").unwrap();
    }
    let (user, group) = (4711, 4712);
    if std::os::unix::fs::lchown(&right, Some(user), Some(group)).is_err() {
        // Only root gives files away.
        return;
    }
    std::fs::set_permissions(&right, std::fs::Permissions::from_mode(0o6755)).unwrap();
    std::os::unix::fs::symlink("/", folder.path().join("link")).unwrap();
    let recurse = json!({"path": folder.path(), "state": "directory", "owner": user.to_string(), "group": group, "recurse": true});
    assert!(done("file", recurse.clone()).await.changed);
    assert_eq!(mode(&right), 0o6755);
    for path in [&right, &other, &folder.path().join("link")] {
        let now = path.symlink_metadata().unwrap();
        assert_eq!((now.uid(), now.gid()), (user, group), "{}", path.display());
    }
    assert_eq!(Path::new("/").metadata().unwrap().uid(), 0);
    assert!(!done("file", recurse).await.changed);
}

#[tokio::test]
async fn archives_change_only_what_they_hold() {
    let folder = tempfile::tempdir().unwrap();
    let dest = folder.path().join("dest");
    std::fs::create_dir(&dest).unwrap();
    std::fs::set_permissions(&dest, std::fs::Permissions::from_mode(0o711)).unwrap();
    std::fs::write(dest.join("private.key"), "x").unwrap();
    std::fs::set_permissions(dest.join("private.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in [("app/one", "1"), ("app/two", "2")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        let owner = folder.path().metadata().unwrap();
        header.set_uid(owner.uid().into());
        header.set_gid(owner.gid().into());
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    let bytes = Bytes::from(archive.into_inner().unwrap());
    let on_host = folder.path().join("app.tar");
    std::fs::write(&on_host, &bytes).unwrap();
    for args in [
        json!({"src": "app.tar", "dest": dest, "mode": "0755"}),
        json!({"src": on_host, "dest": dest, "mode": "0755", "remote_src": true}),
    ] {
        let unpack = async || {
            let outcome = run_with("unarchive", args.clone(), bytes.clone()).await;
            assert_eq!(outcome.failure, None);
            outcome.changed
        };
        assert!(unpack().await);
        assert_eq!(mode(&dest.join("app/one")), 0o755);
        assert_eq!((mode(&dest), mode(&dest.join("private.key"))), (0o711, 0o600));
        assert!(!unpack().await, "nothing has changed");
        // A file that is gone comes back, and one with another mode gets its own.
        std::fs::remove_file(dest.join("app/one")).unwrap();
        std::fs::set_permissions(dest.join("app/two"), std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(unpack().await);
        assert_eq!((read(&dest.join("app/one")).as_str(), mode(&dest.join("app/two"))), ("1", 0o755));
        std::fs::remove_dir_all(dest.join("app")).unwrap();
        assert_eq!(names(&dest), ["private.key"], "no mark is left, and no archive");
    }
    let outcome = run_with("unarchive", json!({"src": "app.tar", "dest": dest}), "no archive".into()).await;
    assert!(outcome.failure.is_some());
    assert_eq!(names(&dest), ["private.key"]);
}

/// An archive of files under `app`, with an entry for the folder itself where that is asked for.
fn archive(with_folder: bool) -> Bytes {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mtime(1_700_000_000);
    header.set_uid(0);
    header.set_gid(0);
    if with_folder {
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o750);
        archive.append_data(&mut header, "app/", &b""[..]).unwrap();
    }
    for (name, text) in [("app/victim", "1"), ("app/.hidden", "2"), ("app/sub/with space", "3")] {
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap().into()
}

/// An archive is unpacked aside, and what it holds replaces what has its name: no link in `dest` leads it anywhere.
#[tokio::test]
async fn archives_follow_no_links_of_another_user() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let [theirs, ours, own, target] = ["theirs", "ours", "own", "target"].map(|name| folder.path().join(name));
    for path in [&theirs, &ours, &own, &target] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::write(ours.join("victim"), "precious").unwrap();
    chown(&theirs, Some(OTHER), Some(OTHER)).unwrap();
    let (on_host, zip) = (folder.path().join("app.tar"), folder.path().join("app.zip"));
    std::fs::write(&on_host, archive(false)).unwrap();
    let tree = folder.path().join("tree/app");
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::write(tree.join("victim"), "1").unwrap();
    let mut command = std::process::Command::new("zip");
    command.args(["-qr", "../app.zip", "app"]).current_dir(folder.path().join("tree"));
    let zipped = command.status().is_ok_and(|status| status.success());
    let link = || {
        let _ = std::fs::remove_file(theirs.join("app"));
        symlink(&ours, theirs.join("app")).unwrap();
        lchown(theirs.join("app"), Some(OTHER), Some(OTHER)).unwrap();
    };
    let untouched = |what: &str| {
        assert_eq!(
            (names(&ours), read(&ours.join("victim"))),
            (vec!["victim".to_owned()], "precious".to_owned()),
            "{what}"
        );
        let now = ours.join("victim").symlink_metadata().unwrap();
        assert_eq!((now.uid(), now.mode() & 0o777), (0, 0o644), "{what}");
        assert_eq!(names(&theirs), ["app"], "{what}: nothing is left over");
    };
    for (args, bytes) in [
        (json!({"src": "app.tar", "dest": theirs, "owner": OTHER.to_string(), "mode": "0600"}), archive(false)),
        (json!({"src": on_host, "dest": theirs, "remote_src": true, "owner": OTHER.to_string()}), Bytes::new()),
        (json!({"src": zip, "dest": theirs, "remote_src": true, "mode": "0600"}), Bytes::new()),
    ] {
        if args["src"] == json!(zip) && !zipped {
            continue;
        }
        link();
        let failure = run_with("unarchive", args.clone(), bytes).await.failure;
        assert!(failure.as_ref().is_some_and(|text| text.contains("it is not followed")), "{args}: {failure:?}");
        untouched(&args.to_string());
    }
    // Nor is an archive of ours unpacked for them by a link to it.
    let fresh = folder.path().join("fresh");
    std::fs::create_dir(&fresh).unwrap();
    symlink(&on_host, theirs.join("archive")).unwrap();
    lchown(theirs.join("archive"), Some(OTHER), Some(OTHER)).unwrap();
    let failure =
        run("unarchive", json!({"src": theirs.join("archive"), "dest": fresh, "remote_src": true})).await.failure;
    assert!(failure.as_ref().is_some_and(|text| text.contains("it is not followed")), "{failure:?}");
    assert!(names(&fresh).is_empty());
    std::fs::remove_file(theirs.join("archive")).unwrap();
    // Where the archive holds the folder itself, it replaces the link, as with tar.
    link();
    let args = json!({"src": "app.tar", "dest": theirs, "mode": "u=rwX,go="});
    let outcome = run_with("unarchive", args.clone(), archive(true)).await;
    assert_eq!((outcome.failure, outcome.changed), (None, true));
    untouched("a folder");
    assert!(!theirs.join("app").is_symlink());
    assert_eq!((read(&theirs.join("app/sub/with space")), mode(&theirs.join("app/.hidden"))), ("3".to_owned(), 0o600));
    assert!(!run_with("unarchive", args, archive(true)).await.changed);
    // A link of our own to a folder is followed, as with tar.
    symlink(&target, own.join("app")).unwrap();
    let args = json!({"src": "app.tar", "dest": own});
    let outcome = run_with("unarchive", args.clone(), archive(false)).await;
    assert_eq!((outcome.failure, outcome.changed), (None, true));
    assert_eq!(
        (names(&target), own.join("app").is_symlink()),
        (vec![".hidden".into(), "sub".into(), "victim".into()], true)
    );
    assert!(!run_with("unarchive", args, archive(false)).await.changed);
}

#[tokio::test]
async fn archives_leave_what_they_shall_leave() {
    let folder = tempfile::tempdir().unwrap();
    let dest = folder.path().join("dest");
    let tree = folder.path().join("tree/app");
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::write(tree.join("victim"), "1").unwrap();
    symlink("victim", tree.join("link")).unwrap();
    let old = std::process::Command::new("touch").args(["-hd", "2020-01-01"]).arg(tree.join("victim")).status();
    assert!(old.unwrap().success());
    let pack = |program: &str, args: &[&str]| {
        let mut command = std::process::Command::new(program);
        command.args(args).current_dir(folder.path().join("tree")).status().is_ok_and(|status| status.success())
    };
    assert!(pack("tar", &["-cf", "../app.tar", "app"]));
    let zipped = pack("zip", &["-qry", "../app.zip", "app"]);
    for name in ["app.tar", "app.zip"] {
        if name == "app.zip" && !zipped {
            continue;
        }
        std::fs::create_dir(&dest).unwrap();
        let args = |more: Value| {
            let mut args = json!({"src": folder.path().join(name), "dest": dest, "remote_src": true});
            args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            args
        };
        assert!(done("unarchive", args(json!({}))).await.changed);
        assert!(!done("unarchive", args(json!({}))).await.changed, "{name}");
        std::fs::write(dest.join("app/victim"), "newer").unwrap();
        assert!(!done("unarchive", args(json!({"keep_newer": true}))).await.changed, "{name}");
        assert_eq!(read(&dest.join("app/victim")), "newer", "{name}");
        if name == "app.tar" {
            let skip = args(json!({"extra_opts": ["--skip-old-files"]}));
            assert!(!done("unarchive", skip).await.changed);
            assert!(run("unarchive", args(json!({"extra_opts": ["--keep-old-files"]}))).await.failure.is_some());
            assert_eq!(read(&dest.join("app/victim")), "newer");
        }
        assert!(done("unarchive", args(json!({}))).await.changed);
        assert_eq!(read(&dest.join("app/victim")), "1", "{name}");
        std::fs::remove_dir_all(&dest).unwrap();
    }
}

/// What an archive of the controller holds gets the modes that it has there, and its folders those of any new folder.
#[tokio::test]
async fn archives_that_are_sent_get_ordinary_modes() {
    let folder = tempfile::tempdir().unwrap();
    let (tree, dest) = (folder.path().join("tree"), folder.path().join("dest"));
    std::fs::create_dir_all(tree.join("d")).unwrap();
    std::fs::create_dir(&dest).unwrap();
    std::fs::write(tree.join("d/f"), "1").unwrap();
    std::fs::set_permissions(tree.join("d/f"), std::fs::Permissions::from_mode(0o644)).unwrap();
    // It holds only the file: its folder is made.
    let packed = std::process::Command::new("tar").args(["-cf", "../a.tar", "d/f"]).current_dir(&tree).status();
    assert!(packed.unwrap().success());
    let bytes = Bytes::from(std::fs::read(folder.path().join("a.tar")).unwrap());
    let args = json!({"src": "a.tar", "dest": dest});
    let umask = std::process::Command::new("sh").args(["-c", "umask"]).output().unwrap().stdout;
    let umask = u32::from_str_radix(String::from_utf8(umask).unwrap().trim(), 8).unwrap();
    for changed in [true, false] {
        let outcome = run_with("unarchive", args.clone(), bytes.clone()).await;
        assert_eq!((outcome.failure, outcome.changed), (None, changed));
        assert_eq!((mode(&dest.join("d")), mode(&dest.join("d/f"))), (0o777 & !umask, 0o644));
    }
}

/// A folder that is copied on the host gets its owner and modes also where its files are there already.
#[tokio::test]
async fn copied_folders_get_their_attributes() {
    let folder = tempfile::tempdir().unwrap();
    let (src, dest) = (folder.path().join("src"), folder.path().join("dest"));
    std::fs::create_dir_all(src.join("sub")).unwrap();
    std::fs::write(src.join("sub/-a file"), "1").unwrap();
    symlink("sub", src.join("link")).unwrap();
    let copy = |more: Value| {
        let mut args = json!({"src": format!("{}/", src.display()), "dest": dest, "remote_src": true});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        args
    };
    let file = dest.join("sub/-a file");
    assert!(done("copy", copy(json!({}))).await.changed);
    assert!(!done("copy", copy(json!({}))).await.changed);
    for (wanted, bits) in [("0600", 0o600), ("u=rw,g=r,o=", 0o640), ("preserve", mode(&src.join("sub/-a file")))] {
        assert!(!done("copy", copy(json!({"mode": wanted, "force": false}))).await.changed);
        assert!(done("copy", copy(json!({"mode": wanted}))).await.changed, "{wanted}");
        assert_eq!(mode(&file), bits);
        assert!(!done("copy", copy(json!({"mode": wanted}))).await.changed, "{wanted}");
    }
    // What is replaced keeps its mode where none is asked for.
    std::fs::write(&file, "2").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o604)).unwrap();
    assert!(done("copy", copy(json!({}))).await.changed);
    assert_eq!((read(&file).as_str(), mode(&file)), ("1", 0o604));
    if is_root() {
        assert!(done("copy", copy(json!({"owner": "4711"}))).await.changed);
        for path in [&dest, &dest.join("sub"), &file, &dest.join("link")] {
            assert_eq!(path.symlink_metadata().unwrap().uid(), 4711, "{}", path.display());
        }
        assert!(!done("copy", copy(json!({"owner": "4711"}))).await.changed);
    }
}

/// What lies in a folder of another user leads only to what is that user's own.
#[tokio::test]
async fn links_of_another_user_lead_nowhere() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (theirs, ours) = (folder.path().join("theirs"), folder.path().join("ours"));
    for path in [&theirs, &ours] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::write(ours.join("victim"), "precious\n").unwrap();
    std::fs::set_permissions(ours.join("victim"), std::fs::Permissions::from_mode(0o600)).unwrap();
    chown(&theirs, Some(OTHER), Some(OTHER)).unwrap();
    let link = |name: &str, to: &Path| {
        symlink(to, theirs.join(name)).unwrap();
        lchown(theirs.join(name), Some(OTHER), Some(OTHER)).unwrap();
    };
    link("file", &ours.join("victim"));
    link("conf", &ours);
    for (module, args) in [
        ("lineinfile", json!({"path": theirs.join("file"), "line": "bad"})),
        ("blockinfile", json!({"path": theirs.join("file"), "block": "bad"})),
        ("copy", json!({"content": "bad", "dest": theirs.join("file"), "follow": true})),
        ("copy", json!({"content": "bad", "dest": theirs.join("conf/new")})),
        ("copy", json!({"content": "bad", "dest": theirs.join("conf/victim"), "mode": "0644"})),
        ("file", json!({"path": theirs.join("file"), "mode": "0644"})),
        ("file", json!({"path": theirs.join("file"), "owner": OTHER.to_string()})),
        ("file", json!({"path": theirs.join("conf/victim"), "state": "absent"})),
        ("file", json!({"path": theirs.join("conf/new"), "state": "directory"})),
        ("file", json!({"path": theirs.join("conf/new"), "state": "touch"})),
        ("file", json!({"path": theirs.join("conf/new"), "src": "/etc", "state": "link"})),
        // What is ours is not published for them.
        ("copy", json!({"src": theirs.join("file"), "dest": folder.path().join("out"), "remote_src": true})),
        ("copy", json!({"src": theirs.join("conf/"), "dest": folder.path().join("out"), "remote_src": true})),
        ("file", json!({"path": folder.path().join("out"), "src": theirs.join("file"), "state": "hard"})),
    ] {
        let failure = run(module, args.clone()).await.failure;
        assert!(
            failure.as_ref().is_some_and(|text| text.contains("it is not followed")),
            "{module} {args}: {failure:?}"
        );
        assert_eq!((names(&ours), read(&ours.join("victim"))), (vec!["victim".to_owned()], "precious\n".to_owned()));
        assert_eq!((mode(&ours.join("victim")), ours.join("victim").metadata().unwrap().uid()), (0o600, 0));
    }
    // A link that is replaced and not followed is no danger, and one to what is theirs anyway is followed.
    done("copy", json!({"content": "ok", "dest": theirs.join("file")})).await;
    assert_eq!(read(&theirs.join("file")), "ok");
    std::fs::create_dir(theirs.join("releases")).unwrap();
    chown(theirs.join("releases"), Some(OTHER), Some(OTHER)).unwrap();
    link("current", Path::new("releases"));
    done("copy", json!({"content": "ok", "dest": theirs.join("current/app.conf"), "mode": "0600"})).await;
    assert_eq!(read(&theirs.join("releases/app.conf")), "ok");
    // Attributes are set on files of theirs.
    std::fs::write(theirs.join("data"), "").unwrap();
    chown(theirs.join("data"), Some(OTHER), Some(OTHER)).unwrap();
    let outcome = done("file", json!({"path": theirs.join("data"), "owner": "0", "mode": "0640"})).await;
    assert_eq!((mode(&theirs.join("data")), outcome.result["owner"].as_str()), (0o640, Some("root")));
}

/// Another user who owns a folder, and replaces whatever is made in it by a link to what is ours.
pub(crate) struct Attack {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u32>,
}

impl Attack {
    pub(crate) fn begin(theirs: &Path, ours: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (until, theirs, ours) = (Arc::clone(&stop), theirs.to_owned(), ours.to_owned());
        let thread = std::thread::spawn(move || {
            let mut count = 0_u32;
            while !until.load(Ordering::Relaxed) {
                for entry in std::fs::read_dir(&theirs).unwrap().flatten() {
                    let name = entry.file_name().into_string().unwrap();
                    // `app` is the folder of an archive.
                    let is_ours = name.starts_with(".infra.") || name.starts_with("infra-") || name == "app";
                    if is_ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        count += 1;
                        let aside = theirs.join(format!("aside{count}"));
                        if std::fs::rename(entry.path(), aside).is_ok() && symlink(&ours, entry.path()).is_ok() {
                            let _ = lchown(entry.path(), Some(OTHER), Some(OTHER));
                        }
                    }
                }
            }
            count
        });
        Self { stop, thread }
    }

    /// How often it tried.
    pub(crate) fn end(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Someone who owns the folder watches it, and replaces whatever appears there by a link to what is ours.
#[tokio::test]
async fn a_race_in_a_folder_of_another_user_is_not_won() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (theirs, ours) = (folder.path().join("theirs"), folder.path().join("ours"));
    for path in [&theirs, &ours] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::set_permissions(&ours, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(ours.join("new"), "precious").unwrap();
    chown(&theirs, Some(OTHER), Some(OTHER)).unwrap();
    // The names of earlier versions, made before anybody looks.
    for name in [".app.conf.infra-new", ".app.conf.infra-archive"] {
        symlink(ours.join("new"), theirs.join(name)).unwrap();
        lchown(theirs.join(name), Some(OTHER), Some(OTHER)).unwrap();
    }
    let attack = Attack::begin(&theirs, &ours);
    let (mut written, mut unpacked) = (0, 0);
    for round in 0..15 {
        let args = json!({"content": format!("secret {round}"), "dest": theirs.join("app.conf"), "mode": "0600"});
        written += u32::from(run("copy", args).await.failure.is_none());
        let args = json!({"src": "app.tar", "dest": theirs, "mode": "0600"});
        unpacked += u32::from(run_with("unarchive", args, archive(round % 2 == 0)).await.failure.is_none());
        assert_eq!(read(&ours.join("new")), "precious");
        assert_eq!((names(&ours), mode(&ours)), (vec!["new".to_owned()], 0o700));
    }
    let attacks = attack.end();
    println!("{attacks} attacks, {written} of 15 writes and {unpacked} of 15 archives succeeded");
    // What is there, if anything, is ours and whole.
    if let Ok(metadata) = theirs.join("app.conf").symlink_metadata() {
        assert!(metadata.is_file() && metadata.uid() == 0 && metadata.mode() & 0o777 == 0o600);
    }
}

/// Whatever was made ready in a folder beforehand, our content is never in someone else's file.
#[tokio::test]
async fn a_file_that_somebody_holds_open_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.conf");
    std::fs::write(&path, "old").unwrap();
    let held = std::fs::File::open(&path).unwrap();
    done("copy", json!({"content": "secret", "dest": path, "mode": "0600"})).await;
    assert_eq!(std::io::read_to_string(held).unwrap(), "old");
    assert_eq!(read(&path), "secret");
}

#[tokio::test]
async fn input_goes_to_the_command_and_not_to_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = folder.path().join("catalog");
    std::fs::create_dir(&catalog).unwrap();
    let outcome = done("command", json!({"cmd": "cat", "stdin": "hi", "chdir": catalog})).await;
    assert_eq!(outcome.result["stdout"], "hi");
}

/// The keys of a result that roles look at.
#[tokio::test]
async fn a_stat_tells_everything() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f"), "text\n").unwrap();
    let outcome = done("stat", json!({"path": folder.path().join("f"), "checksum_algorithm": "sha256"})).await;
    let stat = &outcome.result["stat"];
    assert_eq!((stat["isreg"].as_bool(), stat["size"].as_u64()), (Some(true), Some(5)));
    assert_eq!(stat["checksum"], "b9e68e1bea3e5b19ca6b2f98b73a54b73daafaa250484902e09982e07a12e733");
    assert!(stat["mimetype"].is_string() && stat["attributes"].is_array());
}
