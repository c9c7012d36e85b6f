//! The order of plays, batches, tasks and handlers, play by play: `golden/plays/NAME.yml` is a playbook for the hosts `a` to `d`
//! (the group `web`) and `dead`, which cannot be reached; `NAME.txt` is what ansible-core 2.19 says of it, host by host.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use infra::{
    configure::world,
    error::{Error, Result},
    event::{Ended, Event, Events},
    playbook::{Connections, Inventory, Loader, Notified, Options, Recap, SearchPath, run},
    remote::{Local, Output, Script, Transport},
    template::Engine,
};
use tokio_util::sync::CancellationToken;

use crate::support::repository;

/// This machine as several hosts, each with shells of its own.
#[derive(Default)]
pub(crate) struct Hosts {
    open: Mutex<BTreeMap<String, Arc<Local>>>,
}

#[async_trait]
impl Connections for Hosts {
    async fn connect(&self, host: &str) -> Result<Arc<dyn Transport>> {
        if host == "dead" {
            return Err(Error::new("the connection is refused"));
        }
        Ok(Arc::<Local>::clone(self.open.lock().unwrap().entry(host.to_owned()).or_default()))
    }

    async fn reset(&self, host: &str) {
        self.open.lock().unwrap().remove(host);
    }
}

/// What happened in a run, and what was said.
pub(crate) struct Ran {
    pub(crate) recap: Recap,
    /// `HOST: TASK HOW MESSAGE` for each task that ended.
    pub(crate) lines: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) notes: Vec<String>,
    /// Why tasks failed.
    pub(crate) failures: Vec<String>,
}

pub(crate) fn inventory(folder: &Path) -> Inventory {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let hosts = names(&["a", "b", "c", "d", "dead"]);
    let groups = [("all".to_owned(), hosts.clone()), ("web".to_owned(), names(&["a", "b", "c", "d"]))].into();
    let mut extra_vars = infra::template::Vars::default();
    extra_vars.insert_data("dir", folder.display().to_string().into());
    Inventory { hosts, groups, extra_vars, ..Inventory::default() }
}

/// Where a test keeps notifications.
pub(crate) fn notified(folder: &Path) -> Notified {
    let path = |name: &str| folder.join(name).display().to_string();
    Notified { root: path("notified"), home: path("notified-home"), owner: "test".into(), former: None }
}

pub(crate) async fn play(
    playbooks: &[PathBuf], inventory: Inventory, connections: Arc<dyn Connections>, options: Options,
) -> Ran {
    let engine = Engine::default();
    let loader = Arc::new(Loader::new(SearchPath::default(), engine.clone()));
    let plays = loader.playbooks(playbooks).unwrap_or_else(|error| panic!("{error}"));
    let world = world(inventory, SearchPath::default(), &engine, options.check);
    let (events, mut told) = Events::channel();
    let recap = run(world, loader, plays, connections, options, &events, CancellationToken::new()).await;
    drop(events);
    let (mut lines, mut warnings, mut notes, mut failures) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    while let Ok(event) = told.try_recv() {
        match event {
            Event::TaskEnded { host, task, ended, detail, .. } => {
                let how = match ended {
                    Ended::Ok => "ok",
                    Ended::Changed => "changed",
                    Ended::Skipped => "skipped",
                    Ended::Failed => "failed",
                    Ended::Ignored => "ignored",
                    Ended::Unreachable => "unreachable",
                };
                failures.extend(detail.clone().filter(|_| ended == Ended::Failed));
                let message = detail.filter(|_| ended == Ended::Ok || ended == Ended::Changed).unwrap_or_default();
                lines.push(format!("{host}: {task} {how} {message}").trim_end().to_owned());
            }
            Event::Warning { message } => warnings.push(message),
            Event::Note { message } => notes.push(message),
            _ => {}
        }
    }
    Ran { recap: recap.unwrap_or_else(|error| panic!("{error}")), lines, warnings, notes, failures }
}

fn of_host<'a>(lines: impl Iterator<Item = &'a str>, host: &str) -> Vec<String> {
    let prefix = format!("{host}: ");
    let lines = lines.filter_map(|line| line.strip_prefix(prefix.as_str()));
    // Ansible counts and shows `meta` only when it is skipped, and not everywhere.
    lines.filter(|line| !line.starts_with("meta ")).map(str::to_owned).collect()
}

async fn golden(file: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let wanted = std::fs::read_to_string(file.with_extension("txt")).unwrap();
    let options = Options { notified: Some(notified(folder.path())), ..Options::default() };
    let connections = Arc::<Hosts>::default();
    let ran = play(&[file.to_owned()], inventory(folder.path()), connections, options).await;
    let name = file.display();
    for host in ["a", "b", "c", "d", "dead"] {
        // A task on a host that cannot be reached has no end of its own here.
        let lines: Vec<String> = of_host(wanted.lines(), host);
        let reached: Vec<&String> = lines.iter().filter(|line| !line.ends_with(" unreachable")).collect();
        let mut got = of_host(ran.lines.iter().map(String::as_str), host);
        got.retain(|line| !line.starts_with("connection unreachable"));
        assert_eq!(got.iter().collect::<Vec<_>>(), reached, "{name}: {host}: {:#?}", ran.lines);
    }
    let recap = ran.recap.hosts.iter().map(|(host, tally)| {
        format!(
            "= {host} ok={} changed={} unreachable={} failed={} skipped={} ignored={}",
            tally.ok, tally.changed, tally.unreachable, tally.failed, tally.skipped, tally.ignored
        )
    });
    let wanted: Vec<&str> = wanted.lines().filter(|line| line.starts_with("= ")).collect();
    assert_eq!(recap.collect::<Vec<_>>(), wanted, "{name}: {:#?}", ran.lines);
}

#[tokio::test]
async fn plays_go_as_in_ansible() {
    let root = repository().join("tests/golden/plays");
    let mut count = 0;
    for file in infra::files::walk(&root).unwrap() {
        if file.extension().is_some_and(|extension| extension == "yml") {
            golden(&root.join(file)).await;
            count += 1;
        }
    }
    assert!(count >= 16, "{count}");
}

/// Hosts and groups that a play adds are there for later tasks and plays; a free play that names them waits for it.
#[tokio::test]
async fn hosts_are_added_while_a_run_lasts() {
    let folder = tempfile::tempdir().unwrap();
    for strategy in ["linear", "free"] {
        let playbook = format!(
            "
- hosts: web
  gather_facts: false
  strategy: {strategy}
  tasks:
    - shell: sleep 0.2
    - add_host: {{name: new, groups: [made, more], colour: red, ansible_connection: local}}
    - add_host: {{hostname: second, group: more}}
    - add_host: {{host: third, groupname: [more]}}
    - group_by: {{key: \"os {{{{ 'x' if inventory_hostname in ['a', 'b'] else 'y' }}}}\", parents: known}}
    - debug: {{msg: \"{{{{ groups.made }}}} {{{{ hostvars.new.colour }}}} {{{{ 'made' in group_names }}}} {{{{ groups.more | length }}}} {{{{ 'known' in group_names }}}}\"}}
    - set_fact: {{said: \"by {{{{ inventory_hostname }}}}\"}}
      delegate_to: new
      delegate_facts: true
      when: inventory_hostname == 'a'
- hosts: made:&more
  gather_facts: false
  strategy: {strategy}
  tasks:
    - command: echo second
      register: said_here
    - debug: {{msg: \"{{{{ inventory_hostname }}}} {{{{ colour }}}} {{{{ said }}}} {{{{ said_here.stdout }}}}\"}}
- hosts: os-x
  gather_facts: false
  strategy: {strategy}
  tasks:
    - debug: {{msg: \"{{{{ groups['os-x'] | sort | join(',') }}}} {{{{ hostvars.new.said_here.stdout }}}}\"}}
- hosts: never
  tasks: [{{ping: }}]
"
        );
        let ran = text(folder.path(), &playbook).await;
        assert!(ran.recap.succeeded(), "{:#?} {:#?}", ran.lines, ran.failures);
        let said = |line: &str| ran.lines.iter().any(|one| one == line);
        for host in ["a", "d"] {
            assert!(said(&format!("{host}: debug ok ['new'] red False 3 True")), "{:#?}", ran.lines);
        }
        assert!(said("new: debug ok new red by a second"), "{:#?}", ran.lines);
        assert!(said("a: debug ok a,b second") && said("b: debug ok a,b second"), "{:#?}", ran.lines);
        assert!(!ran.lines.iter().any(|line| line.starts_with("c: debug ok a,b")), "{:#?}", ran.lines);
        assert!(ran.notes.iter().any(|note| note.contains("no hosts match `never`")), "{:#?}", ran.notes);
    }
}

/// A play that hosts may be added to waits for what adds them, also where its group was there before, or is named by a template.
#[tokio::test]
async fn plays_wait_for_hosts_that_are_added_to_what_they_name() {
    let folder = tempfile::tempdir().unwrap();
    let playbook = "
- hosts: a
  gather_facts: false
  strategy: free
  tasks:
    - shell: sleep 0.3
    - add_host: {name: new, groups: [web, made], ansible_connection: local}
    - group_by: {key: grouped}
- hosts: web:!a:!d
  gather_facts: false
  strategy: free
  tasks:
    - debug: {msg: in the group}
    - group_by: {key: grouped}
- hosts: \"{{ groups['made'] }}\"
  gather_facts: false
  strategy: free
  tasks:
    - debug: {msg: \"{{ groups['grouped'] | join(',') }}\"}
- hosts: web:typo
  gather_facts: false
  tasks: []
";
    let path = folder.path().join("play.yml");
    std::fs::write(&path, playbook).unwrap();
    let options = Options { complete: true, ..Options::default() };
    let ran = play(&[path], inventory(folder.path()), Arc::<Hosts>::default(), options).await;
    assert!(ran.recap.succeeded(), "{:#?} {:#?}", ran.lines, ran.failures);
    let said = |line: &str| ran.lines.iter().any(|one| one == line);
    for host in ["b", "c", "new"] {
        assert!(said(&format!("{host}: debug ok in the group")), "{:#?}", ran.lines);
    }
    assert!(said("new: debug ok a,b,c,new"), "in the order of the hosts: {:#?}", ran.lines);
    assert!(ran.warnings.iter().any(|warning| warning.contains("the pattern `typo`")), "{:#?}", ran.warnings);
}

async fn text(folder: &Path, playbook: &str) -> Ran {
    let path = folder.join("play.yml");
    std::fs::write(&path, playbook.replace("$DIR", &folder.display().to_string())).unwrap();
    play(&[path], inventory(folder), Arc::<Hosts>::default(), Options::default()).await
}

#[tokio::test]
async fn throttle_lets_only_so_many_hosts_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for strategy in ["linear", "free"] {
        let playbook = format!(
            "
- hosts: web
  gather_facts: false
  strategy: {strategy}
  tasks:
    - shell: mkdir $DIR/lock && sleep 0.05 && rmdir $DIR/lock
      throttle: 1
"
        );
        let ran = text(folder.path(), &playbook).await;
        assert!(ran.recap.succeeded(), "{:#?}", ran.lines);
    }
}

#[tokio::test]
async fn a_role_ends_by_end_role() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = folder.path().join("roles/r/tasks");
    std::fs::create_dir_all(&tasks).unwrap();
    let role = "
- debug: {msg: in the role}
- block:
    - meta: end_role
      when: inventory_hostname == 'a'
    - debug: {msg: the rest of the block}
  always:
    - debug: {msg: always of the block}
- debug: {msg: the rest of the role}
";
    std::fs::write(tasks.join("main.yml"), role).unwrap();
    let playbook = "
- hosts: a,b
  gather_facts: false
  roles: [r]
  tasks:
    - debug: {msg: behind the role}
";
    let ran = text(folder.path(), playbook).await;
    let said = |host: &str| of_host(ran.lines.iter().map(String::as_str), host).len();
    assert_eq!((said("a"), said("b")), (3, 6), "{:#?}", ran.lines);
}

#[tokio::test]
async fn a_connection_is_reset() {
    let folder = tempfile::tempdir().unwrap();
    let playbook = "
- hosts: a
  gather_facts: false
  tasks:
    - shell: echo $PPID
      register: first
    - meta: reset_connection
    - shell: echo $PPID
      register: second
    - assert: {that: first.stdout != second.stdout}
";
    let ran = text(folder.path(), playbook).await;
    assert!(ran.recap.succeeded(), "{:#?}", ran.lines);
}

#[tokio::test]
async fn a_pattern_that_matches_nothing_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let playbook = "
- {name: typo, hosts: 'web,wbe', gather_facts: false, tasks: [{ping: }]}
- {name: nobody, hosts: 'nobody[0]', gather_facts: false, tasks: [{ping: }]}
";
    let ran = text(folder.path(), playbook).await;
    let warnings = ran.warnings.join("\n");
    for part in ["`wbe` of the play `typo` matches no host", "`nobody[0]` of the play `nobody` matches no host"] {
        assert!(warnings.contains(part), "{warnings}");
    }
    assert_eq!(ran.recap.hosts.len(), 4);
}

#[test]
fn what_meta_does_not_know_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("play.yml");
    std::fs::write(&path, "- hosts: all\n  tasks:\n    - meta: end_world\n").unwrap();
    let loader = Loader::new(SearchPath::default(), Engine::default());
    let error = loader.playbooks(&[path]).unwrap_err();
    assert!(error.diagnostics()[0].message.contains("`meta: end_world` is not supported"), "{error}");
}

/// The first host passes a task on that runs once: another one runs it, and no one waits for ever.
#[tokio::test]
async fn a_task_that_runs_once_does_not_wait_for_a_host_that_passes_it_on() {
    let folder = tempfile::tempdir().unwrap();
    let playbook = "
- hosts: [a, b, c]
  gather_facts: false
  tasks:
    - name: not on a
      command: echo said
      register: r
      run_once: \"{{ inventory_hostname != 'a' }}\"
    - block:
        - name: fails on b
          command: 'false'
          when: inventory_hostname == 'b'
          any_errors_fatal: true
      rescue:
        - debug: {msg: rescued}
          when: inventory_hostname == 'b'
    - name: once
      command: echo once
      run_once: true
    - {name: last, debug: {msg: '{{ r.stdout }}'}}
";
    let path = folder.path().join("play.yml");
    std::fs::write(&path, playbook).unwrap();
    let paths = [path];
    let running = play(&paths, inventory(folder.path()), Arc::<Hosts>::default(), Options::default());
    let ran = tokio::time::timeout(std::time::Duration::from_mins(1), running).await.expect("the run ends");
    let count = |what: &str| ran.lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!((count(": not on a changed"), count(": last ok said")), (2, 3), "{:#?}", ran.lines);
}

/// Machines that note as whom they are asked, and answer nothing.
#[derive(Default)]
struct Noted(Arc<Mutex<Vec<String>>>);

struct Of(String, Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Connections for Noted {
    async fn connect(&self, host: &str) -> Result<Arc<dyn Transport>> {
        Ok(Arc::new(Of(host.to_owned(), Arc::clone(&self.0))))
    }
}

#[async_trait]
impl Transport for Of {
    async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>> {
        for script in scripts.iter().filter(|script| script.text.contains("mark-")) {
            let (_, rest) = script.text.split_once("mark-").unwrap();
            let task: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
            self.1.lock().unwrap().push(format!("{task} {}@{}", user.unwrap_or("-"), self.0));
        }
        Ok(scripts.iter().map(|_| Output { status: Some(0), ..Output::default() }).collect())
    }

    async fn pour(&self, _: Option<&str>, _: &Script, _: &mut infra::remote::Source<'_>) -> Result<Output> {
        Ok(Output { status: Some(0), ..Output::default() })
    }

    async fn dial(&self, _: &str, _: u16) -> Result<Box<dyn infra::remote::Stream>> {
        Err(Error::new("there is no network"))
    }
}

/// `become` is for the host that a task is delegated to, this machine included; its variables are those of that host.
#[tokio::test]
async fn a_delegated_task_becomes_the_user_on_the_delegate() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("play.yml");
    let playbook = "- hosts: a\n  gather_facts: false\n  become: true\n  tasks:
    - command: echo mark-1
    - command: echo mark-2
      delegate_to: localhost
    - command: echo mark-3
      delegate_to: localhost
      become: false
    - command: echo mark-4
      delegate_to: localhost
      become_user: postgres
    - command: echo mark-5
      delegate_to: b
    - command: echo mark-6
      connection: local
";
    std::fs::write(&path, playbook).unwrap();
    let noted = Arc::new(Noted::default());
    let connections = Arc::<Noted>::clone(&noted);
    let ran = play(&[path], inventory(folder.path()), connections, Options::default()).await;
    assert!(ran.recap.succeeded(), "{:?}", ran.lines);
    let mut asked = noted.0.lock().unwrap().clone();
    asked.dedup();
    let expected =
        ["1 root@a", "2 root@localhost", "3 -@localhost", "4 postgres@localhost", "5 root@b", "6 root@localhost"];
    assert_eq!(asked, expected);
}
