//! Handlers that were notified and did not run: whatever ended the run, the next one runs them.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use infra::{
    error::{Error, Result},
    playbook::{Connections, Options},
    remote::{Local, Output, Script, Source, Stream, Transport},
};

use crate::plays::{Hosts, Ran, inventory, notified, play};

/// This machine as a host, to which the connection is lost after some scripts and files; in the middle of a request, too.
struct Mortal {
    local: Local,
    left: AtomicUsize,
}

impl Mortal {
    fn take(&self, wanted: usize) -> usize {
        let left = self.left.load(Ordering::SeqCst);
        self.left.store(left.saturating_sub(wanted), Ordering::SeqCst);
        left.min(wanted)
    }

    fn is_dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

fn killed() -> Error {
    Error::new("killed")
}

#[async_trait]
impl Transport for Mortal {
    async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>> {
        let run = self.take(scripts.len());
        let outputs = self.local.exec(user, &scripts[..run]).await?;
        // Also what was run to its end was not heard of.
        if self.is_dead() { Err(killed()) } else { Ok(outputs) }
    }

    async fn pour(&self, user: Option<&str>, script: &Script, source: &mut Source<'_>) -> Result<Output> {
        let output = match self.take(1) {
            0 => Output::default(),
            _ => self.local.pour(user, script, source).await?,
        };
        if self.is_dead() { Err(killed()) } else { Ok(output) }
    }

    async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn Stream>> {
        self.local.dial(host, port).await
    }
}

struct One(Arc<Mortal>);

#[async_trait]
impl Connections for One {
    async fn connect(&self, _host: &str) -> Result<Arc<dyn Transport>> {
        Ok(Arc::<Mortal>::clone(&self.0))
    }
}

fn write(folder: &Path, name: &str, playbook: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, playbook.replace("$DIR", &folder.display().to_string())).unwrap();
    path
}

fn options(folder: &Path) -> Options {
    Options { notified: Some(notified(folder)), complete: true, ..Options::default() }
}

async fn healthy(folder: &Path, names: &[&str]) -> Ran {
    let paths: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
    play(&paths, inventory(folder), Arc::<Hosts>::default(), options(folder)).await
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_default()
}

/// What is kept on the hosts.
fn kept(folder: &Path) -> usize {
    let count = |name: &str| std::fs::read_dir(folder.join(name)).map_or(0, Iterator::count);
    count("notified") + count("notified-home")
}

const SERVICE: &str = "
- name: service
  hosts: a
  gather_facts: false
  handlers:
    - name: reload
      shell: echo reload >>$DIR/log
      listen: changed
    - name: restart
      shell: cat $DIR/conf $DIR/more >$DIR/loaded; echo restart >>$DIR/log
      notify: changed
  tasks:
    - copy: {content: VERSION, dest: $DIR/conf}
      notify: restart
    - command: touch $DIR/unrelated
    - copy: {content: ' VERSION', dest: $DIR/more}
      notify: restart
";

#[tokio::test]
async fn a_killed_run_never_loses_a_handler() {
    let mut runs = 0;
    for after in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "play.yml", &SERVICE.replace("VERSION", "1"));
        assert!(healthy(folder, &["play.yml"]).await.recap.succeeded());
        assert_eq!((read(folder, "loaded").as_str(), kept(folder)), ("1 1", 0));
        let path = write(folder, "play.yml", &SERVICE.replace("VERSION", "2"));
        let host = Arc::new(Mortal { local: Local::default(), left: AtomicUsize::new(after) });
        let ran = play(&[path], inventory(folder), Arc::new(One(host)), options(folder)).await;
        let survived = ran.recap.succeeded() && ran.warnings.is_empty();
        let ran = healthy(folder, &["play.yml"]).await;
        assert!(ran.recap.succeeded(), "killed after {after}: {:#?}", ran.lines);
        assert_eq!(read(folder, "loaded"), "2 2", "killed after {after}: {:#?}", ran.lines);
        let log = read(folder, "log");
        assert!(log.ends_with("reload\n"), "killed after {after}: {log}");
        assert_eq!(kept(folder), 0, "killed after {after}");
        // Once it has run it does not run again.
        healthy(folder, &["play.yml"]).await;
        assert_eq!(read(folder, "log"), log, "killed after {after}");
        runs += 1;
        if survived {
            break;
        }
    }
    assert!(runs > 10, "{runs}");
}

/// The environment file gets a new password, then a task fails: the service is restarted by the next run, which finds the file
/// right.
#[tokio::test]
async fn a_rotated_password_reaches_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let site = "
- name: database
  hosts: b
  gather_facts: false
  strategy: free
  tasks:
    - shell: sleep 0.3; echo PASSWORD >$DIR/database
      changed_when: false
";
    let shop = "
- name: shop
  hosts: a
  gather_facts: false
  handlers:
    - name: restart
      shell: cat $DIR/env >$DIR/loaded
  tasks:
    - copy: {content: \"PASSWORD\\n\", dest: $DIR/env}
      notify: restart
    - name: tables
      shell: cmp $DIR/env $DIR/database && test ! -e $DIR/broken
      changed_when: false
";
    let run = async |password: &str| {
        write(folder, "site.yml", &site.replace("PASSWORD", password));
        write(folder, "shop.yml", &shop.replace("PASSWORD", password));
        healthy(folder, &["site.yml", "shop.yml"]).await
    };
    // A playbook after another one needs no retries.
    assert!(run("old").await.recap.succeeded());
    let ran = run("new").await;
    assert!(ran.recap.succeeded(), "{:#?}", ran.lines);
    assert_eq!(read(folder, "loaded"), "new\n");
    std::fs::write(folder.join("broken"), "").unwrap();
    assert!(!run("newer").await.recap.succeeded());
    assert_eq!((read(folder, "loaded").as_str(), kept(folder)), ("new\n", 1));
    std::fs::remove_file(folder.join("broken")).unwrap();
    assert!(run("newer").await.recap.succeeded());
    assert_eq!((read(folder, "loaded").as_str(), kept(folder)), ("newer\n", 0));
}

/// A handler fails because of what its task has written. The next run does the task first, and the handler where the play has
/// it, whether the task changes anything this time or not.
#[tokio::test]
async fn what_made_a_handler_fail_can_be_put_right() {
    let playbook = "
- name: service
  hosts: a
  gather_facts: false
  handlers:
    - name: restart
      shell: cat $DIR/conf >>$DIR/log; grep -q good $DIR/conf $DIR/outside
  pre_tasks: []
  tasks:
    - copy: {content: other, dest: $DIR/other}
      notify: restart
    - meta: flush_handlers
    - name: settings
      copy: {content: \"VALUE\\n\", dest: $DIR/conf}
      notify: restart
    - meta: flush_handlers
    - shell: echo logins >>$DIR/log
";
    for (value, outside) in [("good", ""), ("bad", "good")] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::write(folder.join("outside"), "").unwrap();
        std::fs::write(folder.join("conf"), "good\n").unwrap();
        write(folder, "play.yml", &playbook.replace("VALUE", "bad"));
        for _ in 0..2 {
            assert!(!healthy(folder, &["play.yml"]).await.recap.succeeded());
        }
        assert_eq!(read(folder, "log"), "good\nbad\nbad\n");
        std::fs::write(folder.join("outside"), outside).unwrap();
        write(folder, "play.yml", &playbook.replace("VALUE", value));
        let ran = healthy(folder, &["play.yml"]).await;
        assert!(ran.recap.succeeded(), "{:#?}", ran.lines);
        assert_eq!(read(folder, "log"), format!("good\nbad\nbad\n{value}\nlogins\n"));
        assert_eq!(kept(folder), 0);
        // It is no news when the task notifies it now.
        let notes: Vec<_> = ran.notes.iter().filter(|note| note.contains("left from an earlier run")).collect();
        assert_eq!(notes.len(), usize::from(value == "bad"), "{notes:?}");
    }
}

const FAILS: &str = "
- name: NAME
  hosts: a
  gather_facts: false
  handlers:
    - name: HANDLER
      shell: echo ran >>$DIR/log
  tasks:
    - copy: {content: x, dest: $DIR/conf}
      notify: HANDLER
    - command: test -e $DIR/repaired
      changed_when: false
";

fn fails(name: &str, handler: &str) -> String {
    FAILS.replace("NAME", name).replace("HANDLER", handler)
}

#[tokio::test]
async fn what_is_left_is_matched_by_play_role_and_name() {
    for (name, handler, complete, runs, warns) in [
        ("play", "restart", true, true, false),
        // The play has another name now.
        ("renamed", "restart", true, true, false),
        // The handler is not there any more.
        ("play", "renamed", true, false, true),
        ("renamed", "renamed", true, false, true),
        // Another playbook by `infra run`: it is none of its business.
        ("renamed", "renamed", false, false, false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "play.yml", &fails("play", "restart"));
        assert!(!healthy(folder, &["play.yml"]).await.recap.succeeded());
        assert_eq!(kept(folder), 1);
        std::fs::write(folder.join("repaired"), "").unwrap();
        let path = write(folder, "play.yml", &fails(name, handler));
        // A dry run shows the handler and changes nothing.
        let check = Options { check: true, complete, ..options(folder) };
        let ran = play(std::slice::from_ref(&path), inventory(folder), Arc::<Hosts>::default(), check).await;
        assert_eq!(ran.lines.iter().any(|line| line.contains(": restart")), runs, "{:#?}", ran.lines);
        assert_eq!((read(folder, "log").as_str(), kept(folder)), ("", 1));
        let options = Options { complete, ..options(folder) };
        let ran = play(&[path], inventory(folder), Arc::<Hosts>::default(), options).await;
        let what = format!("{name} {handler} {complete}: {:#?} {:#?}", ran.lines, ran.warnings);
        assert!(ran.recap.succeeded(), "{what}");
        assert_eq!(read(folder, "log"), if runs { "ran\n" } else { "" }, "{what}");
        assert_eq!(ran.warnings.iter().any(|warning| warning.contains("is not there any more")), warns, "{what}");
        assert_eq!(kept(folder), usize::from(!runs && !warns), "{what}");
    }
}

/// A task that turns out not to have changed anything leaves nothing, one whose failure is made up for neither.
#[tokio::test]
async fn only_what_was_notified_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let playbook = "
- hosts: a
  gather_facts: false
  handlers:
    - name: one
      shell: echo one >>$DIR/log
    - name: two
      shell: echo two >>$DIR/log
  tasks:
    - command: echo no
      register: said
      changed_when: said.stdout == 'yes'
      notify: one
    - block:
        - shell: echo half >$DIR/half; false
          notify: two
      rescue:
        - debug: {msg: rescued}
    - shell: 'false'
      notify: two
      ignore_errors: true
";
    write(folder, "play.yml", playbook);
    for _ in 0..2 {
        let ran = healthy(folder, &["play.yml"]).await;
        assert!(ran.recap.succeeded(), "{:#?}", ran.lines);
        assert_eq!((read(folder, "log").as_str(), kept(folder)), ("", 0));
    }
}

/// A play that ends early has not taken up what an earlier run left: it stays.
#[tokio::test]
async fn a_play_that_ends_early_keeps_what_is_left() {
    for end in ["end_host", "end_play", "end_batch"] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "play.yml", &fails("play", "restart"));
        assert!(!healthy(folder, &["play.yml"]).await.recap.succeeded());
        std::fs::write(folder.join("repaired"), "").unwrap();
        let early = fails("play", "restart")
            .replace("  tasks:\n", &format!("  tasks:\n    - command: 'true'\n    - meta: {end}\n"));
        write(folder, "play.yml", &early);
        write(folder, "later.yml", "- {name: later, hosts: a, gather_facts: false, tasks: [{command: 'true'}]}\n");
        let ran = healthy(folder, &["play.yml", "later.yml"]).await;
        assert!(ran.recap.succeeded() && ran.warnings.is_empty(), "{end}: {:#?} {:#?}", ran.lines, ran.warnings);
        assert_eq!((read(folder, "log").as_str(), kept(folder)), ("", 1), "{end}");
        write(folder, "play.yml", &fails("play", "restart"));
        assert!(healthy(folder, &["play.yml"]).await.recap.succeeded());
        assert_eq!((read(folder, "log").as_str(), kept(folder)), ("ran\n", 0), "{end}");
    }
}

/// Handlers of one name that listen to one topic are kept one by one.
#[tokio::test]
async fn handlers_of_one_name_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let playbook = "
- hosts: a
  gather_facts: false
  handlers:
    - {shell: 'echo one >>$DIR/log', listen: changed}
    - {shell: 'test -e $DIR/repaired && echo two >>$DIR/log', listen: changed}
  tasks:
    - copy: {content: x, dest: $DIR/conf}
      notify: changed
";
    write(folder, "play.yml", playbook);
    assert!(!healthy(folder, &["play.yml"]).await.recap.succeeded());
    assert_eq!((read(folder, "log").as_str(), kept(folder)), ("one\n", 1));
    std::fs::write(folder.join("repaired"), "").unwrap();
    assert!(healthy(folder, &["play.yml"]).await.recap.succeeded());
    assert_eq!((read(folder, "log").as_str(), kept(folder)), ("one\ntwo\n", 0));
}

/// What cannot be kept is no part of what a task prints, and a handler that is not there matters to a change only.
#[tokio::test]
async fn notifications_fail_no_task_that_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let playbook = "
- hosts: a
  gather_facts: false
  handlers:
    - {name: one, shell: 'echo one >>$DIR/log'}
  tasks:
    - shell: 'true'
      register: r
      failed_when: r.stderr != ''
      notify: one
    - command: echo no
      register: said
      changed_when: said.stdout == 'yes'
      notify: \"{{ 'nobody' }}\"
";
    let path = write(folder, "play.yml", playbook);
    std::fs::write(folder.join("file"), "").unwrap();
    let mut options = options(folder);
    let there = folder.join("file/notified").display().to_string();
    let notified = options.notified.as_mut().unwrap();
    (notified.root, notified.home) = (there.clone(), there);
    let ran = play(&[path], inventory(folder), Arc::<Hosts>::default(), options).await;
    assert!(ran.recap.succeeded(), "{:#?}", ran.lines);
    assert_eq!(read(folder, "log"), "one\n");
    assert!(ran.warnings.iter().any(|warning| warning.contains("Not a directory")), "{:#?}", ran.warnings);
}

/// Free plays of one file overlap, and a task that looks at what an earlier one configures waits for it.
#[tokio::test]
async fn a_task_waits_for_the_play_that_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let playbook = "
- name: database
  hosts: a
  gather_facts: false
  strategy: free
  tasks:
    - shell: test -e $DIR/application
      register: began
      until: began.rc == 0
      retries: 100
      delay: 0
    - shell: sleep 0.2; echo database >>$DIR/log; touch $DIR/database
- name: application
  hosts: b
  gather_facts: false
  strategy: free
  vars:
    port: \"{{ postgres.main.port }}\"
  tasks:
    - stat: {path: $DIR/nothing}
    - shell: touch $DIR/application
    - shell: echo {{ port }} >>$DIR/log
- name: linear
  hosts: c
  gather_facts: false
  tasks:
    - shell: echo linear >>$DIR/log
";
    let path = write(folder, "play.yml", playbook);
    let mut inventory = inventory(folder);
    inventory.services.insert("postgres".into(), vec!["a".into()]);
    let data = infra::template::Var::data(serde_json::json!({ "main": { "port": 5432 } }));
    inventory.vars.insert("postgres", data);
    let ran = play(&[path], inventory, Arc::<Hosts>::default(), options(folder)).await;
    assert!(ran.recap.succeeded(), "{:#?}", ran.lines);
    assert_eq!(read(folder, "log"), "database\n5432\nlinear\n");
}

/// A play that needs one which has failed stops; one that needs nothing of it goes on, and no further play begins.
#[tokio::test]
async fn a_play_that_needs_a_failed_one_stops() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let playbook = "
- {name: database, hosts: a, gather_facts: false, strategy: free, tasks: [{command: 'false'}]}
- {name: application, hosts: b, gather_facts: false, strategy: free, tasks: [{debug: {msg: \"{{ hostvars['a'].x | default('') }}\"}}]}
- {name: other, hosts: c, gather_facts: false, strategy: free, tasks: [{shell: sleep 0.2}, {shell: echo other >$DIR/log}]}
- {name: later, hosts: d, gather_facts: false, tasks: [{shell: echo later >$DIR/log}]}
";
    write(folder, "play.yml", playbook);
    let ran = healthy(folder, &["play.yml"]).await;
    assert!(!ran.recap.succeeded());
    assert_eq!(read(folder, "log"), "other\n");
    let warnings = ran.warnings.join("\n");
    assert!(warnings.contains("needs the play `database`, which has failed"), "{warnings}");
    assert!(!ran.lines.iter().any(|line| line.starts_with("b:") || line.starts_with("d:")), "{:#?}", ran.lines);
}

/// All kinds of machines of the dev environment begin at once.
#[tokio::test]
async fn site_begins_on_all_machines_at_once() {
    struct Gate {
        begun: Mutex<BTreeSet<String>>,
        hosts: usize,
        cancel: tokio_util::sync::CancellationToken,
    }

    #[async_trait]
    impl Connections for Gate {
        async fn connect(&self, host: &str) -> Result<Arc<dyn Transport>> {
            self.begun.lock().unwrap().insert(host.to_owned());
            if self.begun.lock().unwrap().len() == self.hosts {
                self.cancel.cancel();
            }
            std::future::pending().await
        }
    }

    let envs = crate::support::repository().join("envs");
    let text = std::fs::read_to_string(envs.join("dev/config.yaml")).unwrap();
    let environment = crate::support::commands::environment(&envs, &text);
    let engine = infra::template::Engine::default();
    let loader = Arc::new(infra::configure::loader(&environment, &engine));
    let plays = loader.playbooks(&[crate::support::repository().join("playbooks/site.yml")]).unwrap();
    let state = infra::state::State::nothing(&environment);
    let inventory = infra::configure::inventory(&environment, &state, &infra::state::Vault::default());
    let cancel = tokio_util::sync::CancellationToken::new();
    let hosts = inventory.hosts.len();
    assert!(hosts >= 6, "{hosts}");
    let world = infra::configure::world(inventory, loader.search().clone(), &engine, false);
    let gate = Arc::new(Gate { begun: Mutex::default(), hosts, cancel: cancel.clone() });
    let events = infra::event::Events::ignored();
    let run = infra::playbook::run(world, loader, plays, gate, Options::default(), &events, cancel);
    tokio::time::timeout(std::time::Duration::from_mins(1), run).await.expect("all machines begin").unwrap();
}
