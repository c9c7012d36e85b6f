//! The budget of round trips: execs per host per play = 2 + changed tasks + batch breaks, whatever the length of the play.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use infra::{
    configure::world,
    error::Result,
    event::Events,
    playbook::{Connections, Inventory, Loader, Options, Recap, SearchPath, run},
    remote::{Local, Output, Script, Source, Stream, Transport},
    template::Engine,
};
use tokio_util::sync::CancellationToken;

/// This machine as a host, with its execs counted.
#[derive(Default)]
struct Counted {
    local: Local,
    execs: AtomicUsize,
}

#[async_trait]
impl Transport for Counted {
    async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>> {
        self.execs.fetch_add(1, Ordering::SeqCst);
        self.local.exec(user, scripts).await
    }

    async fn pour(&self, user: Option<&str>, script: &Script, source: &mut Source<'_>) -> Result<Output> {
        self.local.pour(user, script, source).await
    }

    async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn Stream>> {
        self.local.dial(host, port).await
    }
}

struct One(Arc<Counted>);

#[async_trait]
impl Connections for One {
    async fn connect(&self, _host: &str) -> Result<Arc<dyn Transport>> {
        Ok(Arc::<Counted>::clone(&self.0))
    }
}

/// Runs a playbook on one host and tells how many execs it took.
pub(crate) async fn execs(playbook: &str, folder: &std::path::Path) -> (usize, Recap) {
    execs_with(playbook, folder, Options::default()).await
}

/// The same with options.
pub(crate) async fn execs_with(playbook: &str, folder: &std::path::Path, options: Options) -> (usize, Recap) {
    let path = folder.join("play.yml");
    std::fs::write(&path, playbook.replace("$DIR", &folder.display().to_string())).unwrap();
    let engine = Engine::default();
    let loader = Arc::new(Loader::new(SearchPath::default(), engine.clone()));
    let plays = loader.playbooks(&[path]).unwrap_or_else(|error| panic!("{error}"));
    let inventory = Inventory { hosts: vec!["here".into()], ..Inventory::default() };
    let world = world(inventory, SearchPath::default(), &engine, options.check);
    let host = Arc::new(Counted::default());
    let connections = Arc::new(One(Arc::clone(&host)));
    let (events, mut told) = Events::channel();
    let recap = run(world, loader, plays, connections, options, &events, CancellationToken::new()).await.unwrap();
    drop(events);
    if !recap.succeeded() {
        let mut all = Vec::new();
        while let Ok(event) = told.try_recv() {
            all.push(serde_json::to_string(&event).unwrap());
        }
        panic!("{}", all.join("\n"));
    }
    (host.execs.load(Ordering::SeqCst), recap)
}

const FILES: &str = "
- hosts: all
  vars: {base: $DIR/tree}
  tasks:
    - file: {path: '{{ base }}', state: directory}
    - set_fact: {name: conf}
    - copy: {content: 'a={{ ansible_facts.system }}', dest: '{{ base }}/{{ name }}'}
    - file: {path: '{{ base }}/{{ item }}', state: directory}
      loop: [x, y, z]
    - lineinfile: {path: '{{ base }}/lines', line: b=2, create: true}
    - block:
        - copy: {content: hi, dest: '{{ base }}/x/hi', mode: '0600'}
      when: base is defined
    - stat: {path: '{{ base }}/x/hi'}
      register: hi
    - assert: {that: [hi.stat.exists, hi.stat.mode == '0600']}
";

#[tokio::test]
async fn a_play_with_nothing_to_do_takes_two_execs() {
    let folder = tempfile::tempdir().unwrap();
    let (first, recap) = execs(FILES, folder.path()).await;
    let changed = recap.hosts["here"].changed;
    assert_eq!(changed, 5);
    // A loop of three items that change is one task and three changes.
    assert!(first <= 2 + changed + 2, "{first} execs for {changed} changed tasks");
    let (second, recap) = execs(FILES, folder.path()).await;
    assert_eq!(recap.hosts["here"].changed, 0);
    assert_eq!(second, 2);
}

#[tokio::test]
async fn the_length_of_a_play_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tasks: String = (0..60).map(|n| format!("    - copy: {{content: '{n}', dest: $DIR/f{n}}}\n")).collect();
    let playbook = format!("- hosts: all\n  tasks:\n{tasks}");
    execs(&playbook, folder.path()).await;
    assert_eq!(execs(&playbook, folder.path()).await.0, 2);
}

#[tokio::test]
async fn a_batch_breaks_where_a_probe_needs_an_earlier_answer() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "x").unwrap();
    let playbook = "
- hosts: all
  gather_facts: false
  tasks:
    - slurp: {src: $DIR/a}
      register: a
    - stat: {path: '$DIR/{{ a.content | b64decode }}'}
      register: x
    - stat: {path: $DIR/a}
    - assert: {that: not x.stat.exists}
";
    assert_eq!(execs(playbook, folder.path()).await.0, 2);
}

#[tokio::test]
async fn a_later_task_sees_what_an_earlier_one_changed() {
    let folder = tempfile::tempdir().unwrap();
    let playbook = "
- hosts: all
  gather_facts: false
  tasks:
    - copy: {content: one, dest: $DIR/f}
    - shell: echo two >$DIR/f
    - slurp: {src: $DIR/f}
      register: f
    - assert: {that: \"f.content | b64decode == 'two\\n'\"}
    - copy: {content: one, dest: $DIR/f}
      register: again
    - assert: {that: again is changed}
    - lineinfile: {path: $DIR/f, line: '{{ item }}'}
      loop: [l1, l2, l1]
    - command: cat $DIR/f
      register: out
    - assert: {that: \"out.stdout_lines == ['one', 'l1', 'l2']\"}
";
    execs(playbook, folder.path()).await;
}

#[tokio::test]
async fn handlers_blocks_and_results_follow_ansible() {
    let folder = tempfile::tempdir().unwrap();
    let playbook = "
- hosts: all
  gather_facts: false
  vars: {log: $DIR/log}
  handlers:
    - name: second
      shell: echo second >>{{ log }}
      listen: topic
    - name: first
      shell: echo first >>{{ log }}
  tasks:
    - command: 'true'
      notify: [first, topic, first]
    - meta: flush_handlers
    - shell: echo task >>{{ log }}
    - block:
        - command: 'false'
        - shell: echo never >>{{ log }}
      rescue:
        - shell: 'echo rescue {{ ansible_failed_result.rc }} >>{{ log }}'
      always:
        - shell: echo always >>{{ log }}
    - shell: exit 3
      register: bad
      ignore_errors: true
    - assert: {that: [bad is failed, bad.rc == 3]}
    - shell: exit 3
      register: fine
      failed_when: fine.rc != 3
      changed_when: false
    - assert: {that: [fine is not changed, fine is succeeded]}
    - shell: echo x >>$DIR/count; test $(wc -l <$DIR/count) -ge 3
      register: tried
      until: tried.rc == 0
      retries: 5
      delay: 0
    - assert: {that: tried.attempts == 3}
    - debug: {msg: skipped}
      when: false
      register: skipped
    - assert: {that: skipped is skipped}
    - command: cat {{ log }}
      register: out
    - assert: {that: \"out.stdout_lines == ['second', 'first', 'task', 'rescue 1', 'always']\"}
";
    let (_, recap) = execs(playbook, folder.path()).await;
    assert_eq!((recap.hosts["here"].failed, recap.hosts["here"].ignored), (0, 1));
}

/// Hosts of a linear play begin each task together, so that what one registers is there for the next task of another.
#[tokio::test]
async fn linear_plays_go_in_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("play.yml");
    let log = folder.path().join("log");
    let playbook = "
- hosts: all
  gather_facts: false
  tasks:
    - command: sleep 0.3
      when: inventory_hostname == 'slow'
    - shell: echo $((40 + 2))
      register: answer
    - shell: echo \"{{ inventory_hostname }} {{ groups.all | map('extract', hostvars, ['answer', 'stdout']) | join(',') }}\" >>LOG
    - include_tasks: more.yml
      when: inventory_hostname == 'slow'
    - shell: echo last >>LOG
"
    .replace("LOG", &log.display().to_string());
    std::fs::write(&path, playbook).unwrap();
    let more = format!("- command: sleep 0.2\n- shell: echo included >>{}\n", log.display());
    std::fs::write(folder.path().join("more.yml"), more).unwrap();
    let engine = Engine::default();
    let loader = Arc::new(Loader::new(SearchPath::default(), engine.clone()));
    let plays = loader.playbooks(&[path]).unwrap_or_else(|error| panic!("{error}"));
    let hosts: Vec<String> = vec!["quick".into(), "slow".into()];
    let groups = [("all".to_owned(), hosts.clone())].into();
    let inventory = Inventory { hosts, groups, ..Inventory::default() };
    let world = world(inventory, SearchPath::default(), &engine, false);
    let connections = Arc::new(One(Arc::default()));
    let (events, mut told) = Events::channel();
    let recap =
        run(world, loader, plays, connections, Options::default(), &events, CancellationToken::new()).await.unwrap();
    drop(events);
    while let Ok(event) = told.try_recv() {
        println!("{event:?}");
    }
    assert!(recap.succeeded(), "{recap:?}");
    let log = std::fs::read_to_string(log).unwrap();
    let mut lines: Vec<&str> = log.lines().collect();
    lines[..2].sort_unstable();
    assert_eq!(lines, ["quick 42,42", "slow 42,42", "included", "last", "last"]);
}
