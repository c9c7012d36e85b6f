//! Hosts that answer with templates, everywhere a host can answer: none of it is evaluated, wherever it goes.
//!
//! `secret` counts its calls and `lookup('file')` reads a canary, so a payload that is rendered or evaluated leaves a trace.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use infra::{
    configure::world,
    error::Result,
    event::Events,
    playbook::{Connections, Inventory, Loader, Options, Recap, SearchPath, run},
    remote::{Local, Output, Script, Source, Stream, Transport},
    template::{Authored, Engine, Scope, Var, Vars},
    yaml,
};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::support::repository;

const CANARY: &str = "the-canary-is-out";
/// What was the fixed text of an omitted argument.
const OMIT: &str = "__omit_place_holder__";

fn template(folder: &Path) -> String {
    let file = folder.join("canary").display().to_string();
    format!("{{{{ secret('x') }}}}{{{{ lookup('file', '{file}') }}}}{{% set a = secret('y') %}}{{# #}}")
}

const EXPRESSION: &str = "secret('x') != '' or not secret('y')";

/// A host that says one thing to everything, or really does what it is asked when it has nothing to say.
struct Host {
    local: Local,
    says: Option<(String, i32)>,
    facts: String,
    sent: Mutex<Vec<String>>,
}

impl Host {
    fn new(says: Option<(String, i32)>, payload: &str) -> Arc<Self> {
        Arc::new(Self { local: Local::default(), says, facts: hostile_facts(payload), sent: Mutex::default() })
    }
}

/// What the facts' script prints, with the payload in every field that is a text.
fn hostile_facts(payload: &str) -> String {
    let local = json!({ payload: payload, "list": [payload] });
    format!(
        "== os\nID={payload}\nNAME={payload}\nVERSION_ID={payload}\nVERSION_CODENAME={payload}\n== uname\n{payload}\n{payload}\n\
         {payload}\n{payload}\n{payload}\n== user\n{payload}\n0\n0\n{payload}\n{payload}\n== hosts\n{payload}.{payload}\n\
         == date\n{payload}\n{payload}\n{payload}\n== service\n{payload}\n== mgr\n{payload}\n== env\n{payload}={payload}\nE={payload}\n\
         == mounts\n/dev/{payload} {payload}\n== virt\n{payload}\n== machine\n{payload}\n== addr\n2: {payload} inet {payload}\n\
         == local\n\n@@ {payload}\n{local}\n@@ ini\n[{payload}]\n{payload}={payload}\n"
    )
}

fn answer(status: i32, text: &str) -> Output {
    Output { status: Some(status), stdout: text.as_bytes().to_vec(), stderr: text.as_bytes().to_vec(), failure: None }
}

#[async_trait]
impl Transport for Host {
    async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>> {
        self.sent.lock().unwrap().extend(scripts.iter().map(|script| script.text.clone()));
        if scripts.iter().any(|script| script.text.contains("s os; cat /etc/os-release")) {
            return Ok(scripts.iter().map(|_| answer(0, &self.facts)).collect());
        }
        match &self.says {
            Some((text, status)) => Ok(scripts.iter().map(|_| answer(*status, text)).collect()),
            None => self.local.exec(user.filter(|_| false), scripts).await,
        }
    }

    async fn pour(&self, _: Option<&str>, script: &Script, source: &mut Source<'_>) -> Result<Output> {
        let mut input = Vec::new();
        source.read_to_end(&mut input).await?;
        self.sent.lock().unwrap().extend([script.text.clone(), String::from_utf8_lossy(&input).into_owned()]);
        match &self.says {
            Some((text, status)) => Ok(answer(*status, text)),
            None => self.local.send(None, script, input.into()).await,
        }
    }

    async fn dial(&self, _: &str, _: u16) -> Result<Box<dyn Stream>> {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let payload = self.says.as_ref().map_or_else(|| self.facts.clone(), |(text, _)| text.clone());
        tokio::spawn(async move {
            let mut request = vec![0; 1 << 16];
            let _ = far.read(&mut request).await;
            let body = json!({ payload.as_str(): [payload], "expr": payload }).to_string();
            let line = payload.replace(['\n', '\r'], " ");
            let answer = format!(
                "HTTP/1.1 200 OK\r\nX-Evil: {line}\r\nSet-Cookie: a={line}\r\nETag: \"{line}\"\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = far.write_all(answer.as_bytes()).await;
        });
        Ok(Box::new(near))
    }
}

struct One(Arc<Host>);

#[async_trait]
impl Connections for One {
    async fn connect(&self, _host: &str) -> Result<Arc<dyn Transport>> {
        Ok(Arc::<Host>::clone(&self.0))
    }
}

struct Ran {
    recap: Recap,
    /// All that was reported, and all that was sent to the host.
    told: String,
    /// How often `secret` was asked.
    asked: usize,
}

impl Ran {
    /// Nothing of what the host said was evaluated.
    fn check(&self, what: &str) {
        let leak = self.told.lines().find(|line| line.contains(CANARY));
        assert_eq!(leak, None, "{what}: a file of this machine was read");
        let last: String = self.told.chars().rev().take(3000).collect::<Vec<_>>().into_iter().rev().collect();
        assert_eq!(self.asked, 0, "{what}: what a host said was evaluated; at the end:\n{last}");
    }
}

async fn play(folder: &Path, host: Arc<Host>, groups: &[&str], playbook: &str) -> Ran {
    let path = folder.join("play.yml");
    std::fs::write(&path, playbook).unwrap();
    let engine = Engine::default();
    let loader = Arc::new(Loader::new(SearchPath::default(), engine.clone()));
    let plays = loader.playbooks(&[path]).unwrap_or_else(|error| panic!("{error}\n{playbook}"));
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let mut vars = Vars::default();
    vars.insert(
        "secret",
        Var::function(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(CANARY.to_owned())
        }),
    );
    let mut inventory = Inventory { hosts: vec!["here".into()], vars, ..Inventory::default() };
    for group in groups.iter().copied().chain(["all"]) {
        inventory.groups.insert(group.to_owned(), vec!["here".into()]);
    }
    let world = world(inventory, SearchPath::default(), &engine, false);
    let connections = Arc::new(One(Arc::clone(&host)));
    let (events, mut told) = Events::channel();
    let running = run(world, loader, plays, connections, Options::default(), &events, CancellationToken::new());
    let recap = tokio::time::timeout(Duration::from_mins(2), running).await.expect("a play ends").unwrap();
    drop(events);
    let mut all = std::mem::take(&mut *host.sent.lock().unwrap());
    while let Ok(event) = told.try_recv() {
        all.push(serde_json::to_string(&event).unwrap());
    }
    Ran { recap, told: all.join("\n"), asked: asked.load(Ordering::SeqCst) }
}

/// The task files, the role and the templates that every answer goes through: those of `hostile_data/`.
fn sinks(folder: &Path) {
    let from = repository().join("tests/hostile_data");
    for file in infra::files::walk(&from).unwrap() {
        let path = folder.join(&file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(from.join(&file), path).unwrap();
    }
    std::fs::write(folder.join("canary"), CANARY).unwrap();
}

/// Every task of the play ignores its errors: what matters is where the answer goes.
fn playbook(folder: &Path, tasks: &str, answer: &str, said: &str) -> String {
    format!(
        "- hosts: all\n  ignore_errors: true\n  vars: {{base: \"{}\", answer: \"{answer}\", said: \"{said}\"}}\n  tasks:\n{tasks}    - include_tasks: sinks.yml\n",
        folder.display()
    )
}

/// A call of each module: that of a golden case, and of those that have none.
fn calls() -> Vec<(String, String)> {
    let root = repository().join("tests/golden/modules");
    let mut calls: Vec<(String, String)> = Vec::new();
    for file in infra::files::walk(&root).unwrap() {
        let module = file.parent().unwrap().display().to_string();
        let (node, _) = yaml::parse(&yaml::read(&root.join(&file)).unwrap()).unwrap();
        let case = node.to_value();
        let arguments = match (case["free_form"].as_str(), case["args"].as_object()) {
            (Some(text), None) => Value::from(text),
            (_, named) => {
                let named = named.cloned().unwrap_or_default();
                Value::Object(named.into_iter().filter(|(_, value)| !value.is_null()).collect())
            }
        };
        // One call of each module is enough: what it answers is the host's.
        if !calls.iter().any(|(name, _)| *name == module) {
            calls.push((module, arguments.to_string()));
        }
    }
    for (module, arguments) in [
        ("shell", "echo"),
        ("package", "{name: x}"),
        ("postgresql_ext", "{name: x, db: d}"),
        ("postgresql_privs", "{db: d, privs: ALL, type: database, role: r}"),
        ("ping", "{}"),
        ("setup", "{}"),
        ("wait_for_connection", "{timeout: 1}"),
        ("uri", "{url: 'http://localhost/', return_content: true}"),
        ("get_url", "{url: 'http://localhost/x', dest: /tmp/x}"),
        ("template", "{src: t.j2, dest: /tmp/x}"),
        ("copy", "{src: inner.yml, dest: /tmp/x}"),
        ("debug", "{var: ansible_facts}"),
    ] {
        calls.push((module.to_owned(), arguments.to_owned()));
    }
    for module in infra::modules::MODULES.iter().map(|module| *module as &dyn infra::modules::Call) {
        if !calls.iter().any(|(name, _)| name == module.name()) {
            calls.push((module.name().to_owned(), "{}".to_owned()));
        }
    }
    calls
}

/// The author's own templates do leave a trace: the canary sings.
#[tokio::test]
async fn what_the_author_wrote_is_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    sinks(folder.path());
    let tasks = "    - command: echo {{ secret('x') }}\n    - debug: {msg: x}\n      when: wanted\n      vars: {wanted: \"secret('x') == 'x'\"}\n";
    let ran = play(folder.path(), Host::new(None, "fine"), &[], &playbook(folder.path(), tasks, "a", "b")).await;
    assert!(ran.asked >= 2, "{}", ran.asked);
    assert!(ran.told.contains(CANARY));
}

#[tokio::test]
async fn no_answer_of_any_module_is_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    sinks(folder.path());
    let payload = template(folder.path());
    let answers =
        [payload.clone(), format!("{payload}\n{EXPRESSION}"), json!({ payload.as_str(): payload }).to_string()];
    let answers = [(0, &answers[0]), (1, &answers[1]), (0, &answers[2])];
    for (number, (module, arguments)) in calls().into_iter().enumerate() {
        // Each module gives one of the answers, `command` all of them.
        let given = answers.iter().enumerate().filter(|(at, _)| module == "command" || number % answers.len() == *at);
        for (_, (status, answer)) in given {
            let tasks = format!("    - {module}: {arguments}\n      register: out\n");
            let said = "{{ out.stdout | default(out.msg | default(out.content | default(out | string))) }}";
            let host = Host::new(Some(((*answer).clone(), *status)), &payload);
            let text = playbook(folder.path(), &tasks, "{{ out }}", said);
            let ran = play(folder.path(), host, &[payload.as_str()], &text).await;
            let what = format!("{module} {arguments} with status {status}");
            ran.check(&what);
        }
    }
}

#[tokio::test]
async fn no_expression_of_a_host_is_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    sinks(folder.path());
    let tasks = "    - command: x\n      register: out\n";
    for status in [0, 1] {
        let host = Host::new(Some((EXPRESSION.to_owned(), status)), EXPRESSION);
        let text = playbook(folder.path(), tasks, "{{ out }}", "{{ out.stdout }}");
        let ran = play(folder.path(), host, &["secret('x') or true"], &text).await;
        ran.check("an expression");
    }
}

/// Names of files, targets of links, contents and HTTP answers of a host that really does what it is asked.
#[tokio::test]
async fn nothing_that_lies_on_a_host_is_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    sinks(folder.path());
    let payload = template(folder.path());
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("{{ secret('x') }}"), &payload).unwrap();
    std::os::unix::fs::symlink("{{ secret('x') }}", data.join("link")).unwrap();
    std::fs::write(data.join("file"), format!("{payload}\n{EXPRESSION}\n")).unwrap();
    let at = data.display();
    for (tasks, answer, said) in [
        (
            format!("    - command: ls {at}\n      register: out\n"),
            "{{ out.stdout_lines }}",
            "{{ out.stdout_lines[0] }}",
        ),
        (
            format!("    - shell: cat {at}/file >&2\n      register: out\n"),
            "{{ out.stderr_lines }}",
            "{{ out.stderr }}",
        ),
        (format!("    - stat: {{path: {at}/link}}\n      register: out\n"), "{{ out }}", "{{ out.stat.lnk_target }}"),
        (
            format!("    - slurp: {{src: {at}/file}}\n      register: out\n"),
            "{{ out }}",
            "{{ out.content | b64decode }}",
        ),
        (
            "    - uri: {url: 'http://localhost/', return_content: true}\n      register: out\n".to_owned(),
            "{{ out.json }}",
            "{{ out.x_evil }}",
        ),
        (
            format!("    - command: cat {{{{ item }}}}\n      register: out\n      with_fileglob: {at}/*\n"),
            "{{ out.results }}",
            "{{ out.results[0].item }}",
        ),
        ("    - command: echo\n".to_owned(), "{{ ansible_facts }}", "{{ ansible_facts.distribution }}"),
        ("    - command: echo\n".to_owned(), "{{ ansible_local }}", "{{ ansible_env.E }}"),
    ] {
        let text = playbook(folder.path(), &tasks, answer, said);
        let ran = play(folder.path(), Host::new(None, &payload), &[], &text).await;
        ran.check(&tasks);
        assert!(ran.recap.hosts["here"].ok > 20, "{tasks}: {:?}", ran.recap);
    }
}

/// A template is written as it is, and an answer cannot make an argument vanish.
#[tokio::test]
async fn answers_are_written_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    sinks(folder.path());
    let base = folder.path();
    for said in [template(base), OMIT.to_owned(), EXPRESSION.to_owned()] {
        std::fs::write(base.join("said"), &said).unwrap();
        let text = format!(
            r#"
- hosts: all
  gather_facts: false
  vars: {{base: "{}", said: "{{{{ out.stdout }}}}", copied: {{dest: "{{{{ base }}}}/copied"}}}}
  tasks:
    - command: cat {{{{ base }}}}/said
      register: out
    - copy: {{content: "{{{{ said }}}}", dest: "{{{{ base }}}}/copied"}}
    - include_tasks: write.yml
      loop: "{{{{ out.stdout_lines }}}}"
    - command: sh -c 'printf %s "$SAID" >"$BASE/exported"'
      args: {{expand_argument_vars: false}}
      environment: {{SAID: "{{{{ said }}}}", BASE: "{{{{ base }}}}"}}
    - set_fact: {{list: ["{{{{ said }}}}", 1], map: {{k: "{{{{ said }}}}"}}}}
    - assert: {{that: [list | length == 2, map.k == said, "'k' in map"]}}
    - copy: {{content: x, dest: "{{{{ base }}}}/x", mode: "{{{{ (said == 'never') | ternary('0600', omit) }}}}"}}
"#,
            base.display()
        );
        std::fs::write(base.join("write.yml"), "- copy: {content: '{{ item }}', dest: '{{ base }}/looped'}\n").unwrap();
        let ran = play(base, Host::new(None, "fine"), &[], &text).await;
        assert!(ran.recap.succeeded(), "{}", ran.told);
        for name in ["copied", "looped", "exported"] {
            assert_eq!(std::fs::read_to_string(base.join(name)).unwrap(), said, "{name}");
        }
        ran.check(&said);
    }
}

/// A text that the author marks with `!unsafe` is data, too.
#[test]
fn unsafe_texts_are_kept() {
    struct Nothing;
    impl Scope for Nothing {
        fn get(&self, name: &str) -> Option<Var> {
            panic!("`{name}` was asked for")
        }
    }
    let kept = r#"{{ secret('x') }} \ "q" " {% if a %} é {# #}"#;
    let text = format!("a: !unsafe '{}'\nb: [!unsafe plain]\n", kept.replace('\'', "''"));
    let (node, _) = yaml::parse(&yaml::Source::new("t", text)).unwrap();
    let scope: Arc<dyn Scope> = Arc::new(Nothing);
    let value = Engine::default().resolve(&Authored::node(&node), &scope).unwrap();
    assert_eq!(value, json!({ "a": kept, "b": ["plain"] }));
}

/// Only these files turn something into what the author wrote: each reads the author's own files or command line.
#[test]
fn few_places_say_that_the_author_wrote_something() {
    let root = repository().join("src");
    let mut places = Vec::new();
    for path in infra::files::walk(&root).unwrap() {
        let text = std::fs::read_to_string(root.join(&path)).unwrap_or_default();
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        let names = ["written", "node", "entries"];
        let made: Vec<&str> = names.into_iter().filter(|name| product.contains(&format!("Authored::{name}"))).collect();
        if !path.starts_with("template") && !made.is_empty() {
            places.push(format!("{}: {}", path.display(), made.join(", ")));
        }
    }
    places.sort();
    let known = [
        "configure/inventory.rs: written",
        "configure/mod.rs: written",
        "playbook/actions/include_vars.rs: entries",
        "playbook/host/fate.rs: written",
        "playbook/load/calls.rs: written, node",
        "playbook/load/mod.rs: node, entries",
        "playbook/load/plays.rs: node, entries",
        "playbook/load/roles.rs: node, entries",
        "playbook/load/tasks.rs: node, entries",
        "playbook/run.rs: written, entries",
    ];
    assert_eq!(places, known, "a new place that turns values into templates: is that the author's text?");
    // What a template computes is data.
    let map: Map<String, Value> = Map::from_iter([("a".to_owned(), json!("{{ nope }}"))]);
    let vars: Vars = Authored::written(map).into();
    assert!(matches!(vars.get("a"), Some(Var::Template(_))));
}
