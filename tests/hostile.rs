//! Machines that answer anything: what they say is data, it costs little, it holds up no one, and it leaves no trace elsewhere.
//!
//! A peer at the level of the transport speaks the framing of shells as a real machine does, and is wrong in every way that
//! the framing allows; every module and action asks it. A real `sh` in a hostile environment answers as if nothing was odd.

use std::{
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use infra::{
    configure::world,
    error::{Error, Result},
    event::{Event, Events},
    modules::MODULES,
    playbook::{Connections, Inventory, Loader, Options, Recap, SearchPath, run},
    remote::{
        ANSWER_LIMIT, CHANGE_LIMIT, Feed, Local, Output, REQUEST_LIMIT, Script, Shell, Shells, Source, Stream,
        Transport,
    },
    template::Engine,
    yaml,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::support::repository;

/// What must never be anywhere: it stands in a file of this machine, and in a variable.
const CANARY: &str = "kanarie-7c1f";

/// What a machine answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Says {
    /// Nothing, with status 0.
    Nothing,
    /// Templates and expressions, on both streams.
    Templates,
    /// Lines that look like marks, and the true ones: the administrator of a machine can read them.
    Marks,
    /// As much as is taken, on standard output.
    Flood,
    /// As much as is taken, on standard error.
    FloodOfErrors,
    /// Bytes of no encoding, and zeros.
    Bytes,
    /// Numbers that fit nowhere, where numbers are expected.
    Numbers,
    /// A status that is none.
    Status(&'static str),
    /// The end of the group on standard output, the ends of many scripts on standard error; or the reverse.
    Crossed(bool),
    /// Half an answer, then nothing more.
    Half,
    /// Half an answer, then the end of the connection.
    Closes,
    /// No shell at all.
    Never,
    /// Much before the shell begins.
    Banner,
    /// This many lines.
    Lines(usize),
}

const ALL: &[Says] = &[
    Says::Nothing,
    Says::Templates,
    Says::Marks,
    Says::Bytes,
    Says::Numbers,
    Says::Status("4294967296"),
    Says::Status("-1"),
    Says::Status("x y"),
    Says::Status(""),
    Says::Crossed(false),
    Says::Crossed(true),
    Says::Half,
    Says::Closes,
    Says::Never,
    Says::Banner,
    Says::Lines(20_000),
];

/// A machine at the other end of a transport.
struct Peer {
    says: Says,
    shells: Shells,
    /// What it was sent.
    asked: Arc<Mutex<String>>,
    /// How many bytes it got rid of.
    printed: Arc<AtomicUsize>,
}

impl Peer {
    fn new(says: Says) -> Arc<Self> {
        Arc::new(Self { says, shells: Shells::default(), asked: Arc::default(), printed: Arc::default() })
    }

    fn open(&self, user: Option<&str>) -> Result<Shell> {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (shell, feed) = Shell::new(ours, user)?;
        tokio::spawn(answer(theirs, feed, self.says, Arc::clone(&self.asked), Arc::clone(&self.printed)));
        Ok(shell)
    }
}

/// The word after `printf '\n%s\n' ` with this ending.
pub(crate) fn mark<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    line.split_once(before)?.1.split_once(after).map(|(mark, _)| mark)
}

async fn answer(
    mut input: tokio::io::DuplexStream, feed: Feed, says: Says, asked: Arc<Mutex<String>>, printed: Arc<AtomicUsize>,
) {
    let say = |out: &[u8], err: &[u8]| {
        printed.fetch_add(out.len() + err.len(), Ordering::Relaxed);
        feed.out(out) && feed.err(err)
    };
    let mut text = String::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = tokio::select! {
            count = input.read(&mut buffer) => count.unwrap_or(0),
            () = feed.closed() => return,
        };
        if count == 0 {
            feed.end(Some(0));
            return;
        }
        text += &String::from_utf8_lossy(&buffer[..count]);
        asked.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
        while let Some((line, rest)) = text.split_once('\n').map(|(line, rest)| (line.to_owned(), rest.to_owned())) {
            text = rest;
            if let Some(mark) = greeting(&line) {
                if says == Says::Never {
                    continue;
                }
                if says == Says::Banner {
                    let banner = "{{ 7 * 7 }}\n--x:g\n".repeat(1_000);
                    say(banner.as_bytes(), banner.as_bytes());
                }
                let sign = format!("\n{mark}g\n");
                say(sign.as_bytes(), sign.as_bytes());
            } else if let Some(mark) = mark(&line, "printf '\\n%s%s\\n' ", " $infra_rc") {
                if !script(says, mark, &feed, &say) {
                    return;
                }
            } else if line.ends_with("|| exit 1")
                && says != Says::Half
                && let Some(mark) = mark(&line, "printf '\\n%s\\n' ", "g && ")
            {
                let sign = format!("\n{mark}g\n");
                say(sign.as_bytes(), sign.as_bytes());
            }
        }
    }
}

pub(crate) fn greeting(line: &str) -> Option<&str> {
    (!line.ends_with("|| exit 1")).then(|| mark(line, "; printf '\\n%s\\n' ", "g && "))?
}

/// Answers one script; `false` ends the peer.
fn script(says: Says, mark: &str, feed: &Feed, say: &impl Fn(&[u8], &[u8]) -> bool) -> bool {
    let end = |status: &str| {
        say(format!("\n{mark}{status}\n").as_bytes(), format!("\n{mark}\n").as_bytes());
        true
    };
    match says {
        Says::Nothing | Says::Banner => end("0"),
        Says::Templates => {
            let text = "{{ canary }}\n{{ lookup('file', canary_file) }}\n{% for x in range(9) %}{{ x }}\
                        {% endfor %}\n{{ secret('db') }}\nlookup('file', canary_file) != ''\n";
            say(text.as_bytes(), text.as_bytes());
            end("0")
        }
        Says::Marks => {
            let text = format!("--x:0\n\n--x:g\n\n{mark}\n\n{mark}0\n\n{mark}7\n\n{mark}g\n");
            say(text.as_bytes(), text.as_bytes());
            end("0")
        }
        Says::Flood | Says::FloodOfErrors => {
            let piece = vec![b'x'; 1 << 16];
            // A gigabyte, or less when no more is taken.
            for _ in 0..(1 << 30) / piece.len() {
                let taken = if says == Says::Flood { say(&piece, b"") } else { say(b"", &piece) };
                if !taken {
                    break;
                }
            }
            true
        }
        Says::Lines(count) => {
            let lines = "\n".repeat(count);
            say(lines.as_bytes(), b"");
            end("0")
        }
        Says::Bytes => {
            let bytes = b"\xff\xfe\0\0caf\xe9\n\0\xc3\x28 \xed\xa0\x80 1|2|3\n";
            say(bytes, bytes);
            end("0")
        }
        Says::Numbers => {
            let lines = "99999999999999999999999999999999999999|-1|1e999|0x7fffffffffffffff|NaN|||\n-\n".repeat(50);
            say(lines.as_bytes(), b"");
            end("0")
        }
        Says::Status(status) => end(status),
        Says::Crossed(reverse) => {
            let (group, scripts) = (format!("\n{mark}g\n"), format!("\n{mark}0\n").repeat(1000));
            let (out, err) = if reverse { (scripts, group) } else { (group, scripts) };
            say(out.as_bytes(), err.as_bytes())
        }
        Says::Half => {
            say(b"644|0|0|root", format!("\n{}", &mark[..5]).as_bytes());
            true
        }
        Says::Closes => {
            say(b"644|0|0|root", b"");
            feed.end(None);
            false
        }
        Says::Never => true,
    }
}

#[async_trait]
impl Transport for Peer {
    async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>> {
        self.shells.run(user, scripts, || async { self.open(user) }).await
    }

    async fn pour(&self, _: Option<&str>, script: &Script, source: &mut Source<'_>) -> Result<Output> {
        let (mut bytes, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let count = source.read(&mut piece).await?;
            // Of a large file the beginning is enough.
            match (count, bytes.len() > 1 << 20) {
                (0, _) => break,
                (_, true) => {}
                (_, false) => bytes.extend_from_slice(&piece[..count]),
            }
        }
        let mut asked = self.asked.lock().unwrap();
        asked.push_str(&script.text);
        asked.push_str(&String::from_utf8_lossy(&bytes));
        Ok(Output { status: Some(0), stdout: vec![0xff; 300], stderr: b"{{ canary }}".to_vec(), failure: None })
    }

    async fn dial(&self, _: &str, _: u16) -> Result<Box<dyn Stream>> {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let says = self.says;
        let printed = Arc::clone(&self.printed);
        tokio::spawn(async move {
            let mut request = vec![0; 4096];
            let _ = theirs.read(&mut request).await;
            let head = "HTTP/1.1 200 OK\r\nSkipped: true\r\nAnsible-Facts: x\r\nContent-Type: application/json\r\n";
            let body: &[u8] = match says {
                Says::Never | Says::Half => return std::future::pending().await,
                Says::Closes => b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf",
                Says::Status(_) => b"HTTP/1.1 99999 {{ canary }}\r\n\r\n",
                Says::Templates => b"HTTP/1.1 200 OK\r\nx: {{ canary }}\r\nContent-Length: 12\r\n\r\n{{ canary }}",
                Says::Bytes => b"HTTP/1.1 200 OK\r\nx: \xff\r\nContent-Length: 3\r\n\r\n\xff\xfe\0",
                Says::Numbers => b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                Says::Marks => b"HTTP/1.1 302 Found\r\nLocation: http://user:pass@other/\r\nContent-Length: 0\r\n\r\n",
                Says::Flood | Says::FloodOfErrors | Says::Lines(_) => b"",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            if !body.is_empty() {
                let _ = theirs.write_all(body).await;
                return;
            }
            let _ = theirs.write_all(format!("{head}\r\n").as_bytes()).await;
            let piece = b"[],".repeat(1 << 14);
            while theirs.write_all(&piece).await.is_ok() {
                if printed.fetch_add(piece.len(), Ordering::Relaxed) > 1 << 30 {
                    return;
                }
            }
        });
        Ok(Box::new(ours))
    }
}

struct Two {
    bad: Arc<dyn Transport>,
    good: Arc<dyn Transport>,
}

#[async_trait]
impl Connections for Two {
    async fn connect(&self, host: &str) -> Result<Arc<dyn Transport>> {
        match host {
            "bad" => Ok(Arc::clone(&self.bad)),
            "good" => Ok(Arc::clone(&self.good)),
            other => Err(Error::new(format!("there is no `{other}`"))),
        }
    }
}

/// Runs tasks on a hostile machine and on another one; what was told about it.
pub(crate) async fn play(
    tasks: &str, bad: Arc<dyn Transport>, good: Arc<dyn Transport>, time: Duration,
) -> (Recap, Vec<Event>) {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, CANARY).unwrap();
    std::fs::write(folder.path().join("inner.yml"), "- debug: {msg: \"inner {{ item }}\"}\n").unwrap();
    std::fs::write(folder.path().join("source"), "text\n").unwrap();
    let path = folder.path().join("play.yml");
    let playbook = format!(
        "- hosts: all\n  gather_facts: false\n  vars: {{canary: {CANARY}, canary_file: {}}}\n  tasks:\n{tasks}",
        secret.display()
    );
    std::fs::write(&path, &playbook).unwrap();
    let engine = Engine::default();
    let loader = Arc::new(Loader::new(SearchPath::default(), engine.clone()));
    let plays = loader.playbooks(&[path]).unwrap_or_else(|error| panic!("{error}\n{playbook}"));
    let hosts: Vec<String> = vec!["bad".into(), "good".into()];
    let groups = [("all".to_owned(), hosts.clone())].into();
    let inventory = Inventory { hosts, groups, ..Inventory::default() };
    let world = world(inventory, SearchPath::default(), &engine, false);
    let (events, mut told) = Events::channel();
    let cancel = CancellationToken::new();
    let recap = {
        let running =
            run(world, loader, plays, Arc::new(Two { bad, good }), Options::default(), &events, cancel.clone());
        tokio::pin!(running);
        // Whoever waits for a command of their own that never ends can stop it at any time.
        tokio::select! {
            recap = &mut running => recap.unwrap(),
            () = tokio::time::sleep(time) => {
                cancel.cancel();
                tokio::time::timeout(Duration::from_secs(5), running).await.expect("a run that is stopped ends").unwrap()
            }
        }
    };
    drop(events);
    let mut all = Vec::new();
    while let Some(event) = told.recv().await {
        all.push(event);
    }
    (recap, all)
}

/// A task for each module, with arguments of its golden cases, and one for each action that asks a host.
fn tasks() -> Vec<(String, String)> {
    let mut tasks = Vec::new();
    for module in MODULES {
        let folder = repository().join("tests/golden/modules").join(module.name());
        let cases: Vec<Value> = infra::files::walk(&folder)
            .unwrap_or_default()
            .iter()
            .map(|file| yaml::parse(&yaml::read(&folder.join(file)).unwrap()).unwrap().0.to_value())
            .filter(|case| case["error"].is_null() && case["files"].is_null())
            .collect();
        // `template` has a file in each of its cases, and a task of its own below.
        let Some(case) = cases.first() else { continue };
        let text = case["free_form"].as_str();
        let mut task = json!({ module.name(): text.map_or_else(|| case["args"].clone(), Value::from) });
        if text.is_some() && case["args"].is_object() {
            task["args"] = case["args"].clone();
        }
        tasks.push((module.name().to_owned(), task.to_string()));
    }
    for (name, arguments) in [
        ("ping", json!({})),
        ("setup", json!({})),
        ("uri", json!({"url": "http://localhost/x", "return_content": true, "headers": {"X-Token": "t"}})),
        ("get_url", json!({"url": "http://localhost/x", "dest": "/opt/x"})),
        ("wait_for_connection", json!({"timeout": 1})),
        ("template", json!({"src": "source", "dest": "/opt/x"})),
        ("copy", json!({"src": "source", "dest": "/opt/x"})),
        ("pause", json!({"seconds": 0})),
    ] {
        tasks.push((name.to_owned(), json!({ name: arguments }).to_string()));
    }
    tasks
}

/// A task, everything that may be done with its answer, and the last word.
fn playbook(task: &str) -> String {
    let inner = task.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
    format!(
        "    - {{name: asks, register: r, ignore_errors: true, {inner}}}\n    \
         - {{name: shows, debug: {{msg: \"{{{{ r }}}}\"}}}}\n    \
         - {{name: loops, debug: {{msg: \"{{{{ item }}}}\"}}, loop: \"{{{{ r.stdout_lines | default([]) | list | unique }}}}\", ignore_errors: true}}\n    \
         - {{name: keeps, set_fact: {{kept: \"{{{{ r.content | default(r.stdout | default('')) }}}}\"}}, ignore_errors: true}}\n    \
         - {{name: sends, command: {{argv: [echo, \"{{{{ kept | default('') }}}}\"]}}, ignore_errors: true, when: r.stdout is defined}}\n    \
         - {{name: last, debug: {{msg: the end}}}}\n"
    )
}

fn look(what: &str, text: &str) {
    assert!(!text.contains(CANARY), "the canary is in {what}:\n{}", text.chars().take(4000).collect::<String>());
}

/// Whether the other machine came to its end.
fn finished(events: &[Event], host: &str) -> bool {
    events
        .iter()
        .any(|event| matches!(event, Event::TaskEnded { host: of, task, .. } if of == host && task.contains("last")))
}

async fn ask(name: &str, task: &str, says: Says) {
    let (bad, good) = (Peer::new(says), Peer::new(Says::Nothing));
    let what = format!("{name}, {says:?}");
    let (recap, events) =
        play(&playbook(task), Arc::<Peer>::clone(&bad), Arc::<Peer>::clone(&good), Duration::from_hours(1)).await;
    for (of, peer) in [("the bad machine", &bad), ("the good machine", &good)] {
        look(&format!("what was sent to {of} ({what})"), &peer.asked.lock().unwrap());
    }
    look(&what, &serde_json::to_string(&events).unwrap());
    let held_up = matches!(says, Says::Never | Says::Half) && recap.hosts["bad"].unreachable == 0;
    assert!(finished(&events, "good") || held_up, "{what}: {recap:?}");
    // A file is as large as it is, and goes to the machine piece by piece.
    let taken = bad.printed.load(Ordering::Relaxed);
    assert!(name == "get_url" || taken <= 4 * REQUEST_LIMIT, "{what}: {taken} bytes were taken");
}

#[tokio::test(start_paused = true)]
async fn every_module_and_action_against_every_answer() {
    let tasks = tasks();
    assert!(MODULES.iter().all(|module| tasks.iter().any(|(name, _)| name == module.name())));
    for (name, task) in &tasks {
        for says in ALL {
            ask(name, task, *says).await;
        }
    }
}

/// So many lines that each of them may cost only a little.
#[tokio::test(start_paused = true)]
async fn half_a_million_lines_are_taken() {
    let tasks = tasks();
    let (name, task) = tasks.iter().find(|(name, _)| name == "command").unwrap();
    ask(name, task, Says::Lines(400_000)).await;
}

/// A gigabyte is answered by a machine to every module and action; a few pieces of it are taken, and little memory.
#[test]
fn floods_are_cut_off() {
    assert!(peak_of("child_that_is_flooded") < 100 << 10);
}

#[tokio::test(start_paused = true)]
#[ignore = "a process of its own, for `floods_are_cut_off`"]
async fn child_that_is_flooded() {
    for (name, task) in &tasks() {
        for says in [Says::Flood, Says::FloodOfErrors] {
            ask(name, task, says).await;
        }
    }
    let (bad, good) = (Peer::new(Says::Flood), Peer::new(Says::Nothing));
    let (recap, events) = play(
        "    - {name: asks, command: cat /dev/zero}\n    - {name: last, debug: {msg: end}}\n",
        Arc::<Peer>::clone(&bad),
        good,
        Duration::from_hours(1),
    )
    .await;
    let text = serde_json::to_string(&events).unwrap();
    assert!(text.contains(&format!("more than {} MiB", ANSWER_LIMIT >> 20)), "{text}");
    // The task has failed; the machine is still there, and the other one has ended.
    assert_eq!((recap.hosts["bad"].failed, recap.hosts["bad"].unreachable), (1, 0));
    assert!(finished(&events, "good"));
    assert!(bad.printed.load(Ordering::Relaxed) < 2 * REQUEST_LIMIT);
    say_peak();
}

/// A machine that keeps its connection alive and never ends a step holds its play, as in Ansible; `timeout` ends it.
#[tokio::test(start_paused = true)]
async fn a_step_that_never_ends_is_ended_by_its_timeout() {
    let tasks = "    - {name: asks, command: sleep inf, timeout: 60}\n    - {name: last, debug: {msg: end}}\n";
    let (bad, good) = (Peer::new(Says::Half), Peer::new(Says::Nothing));
    let (recap, events) = play(tasks, bad, good, Duration::from_hours(1)).await;
    assert_eq!(recap.hosts["bad"].failed, 1, "{recap:?}");
    assert!(finished(&events, "good"), "{recap:?}");
}

/// Signs that differ on the two streams are not dropped without end.
#[tokio::test(start_paused = true)]
async fn more_answers_than_scripts_are_refused_on_each_stream() {
    for reverse in [false, true] {
        let peer = Peer::new(Says::Crossed(reverse));
        let error =
            peer.exec(None, &["true", "true"].map(|text| Script::change(text, CHANGE_LIMIT))).await.unwrap_err();
        assert!(error.to_string().contains("answers what it was not asked"), "{error}");
    }
}

/// After ten seconds without a sign of life a line says which machine is silent, and during what.
#[tokio::test(start_paused = true)]
async fn a_silent_machine_is_named() {
    struct Silent(Arc<Peer>);
    #[async_trait]
    impl Transport for Silent {
        async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>> {
            self.0.exec(user, scripts).await
        }
        async fn pour(&self, user: Option<&str>, script: &Script, source: &mut Source<'_>) -> Result<Output> {
            self.0.pour(user, script, source).await
        }
        async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn Stream>> {
            self.0.dial(host, port).await
        }
        async fn ping(&self) -> Result<()> {
            std::future::pending().await
        }
    }
    let task = "    - {name: asks, command: sleep inf}\n    - {name: last, debug: {msg: end}}\n";
    let (_, events) =
        play(task, Arc::new(Silent(Peer::new(Says::Half))), Peer::new(Says::Nothing), Duration::from_secs(11)).await;
    let text = serde_json::to_string(&events).unwrap();
    assert!(text.contains("`bad` has been silent for 10 s during `asks`"), "{text}");
    // A long task of a machine that answers is no silence.
    let (_, events) = play(task, Peer::new(Says::Half), Peer::new(Says::Nothing), Duration::from_mins(5)).await;
    assert!(!serde_json::to_string(&events).unwrap().contains("silent"));
}

/// A real shell whose start files print, and whose environment is as odd as it can be.
struct OddShell {
    shells: Shells,
    folder: std::path::PathBuf,
}

impl OddShell {
    fn open(&self, user: Option<&str>) -> Result<Shell> {
        let begin = format!(
            "echo 'Welcome! --x:g'; echo rubbish >&2; alias printf='echo aliased'; PATH={0}:$PATH; IFS=0123456789; umask 0; \
             export PATH IFS; exec /bin/sh",
            self.folder.display()
        );
        let mut child = tokio::process::Command::new("/bin/sh");
        child.args(["-c", &begin]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in [
            ("LANG", "de_DE.UTF-8"),
            ("LC_ALL", "de_DE.UTF-8"),
            ("LANGUAGE", "de"),
            ("POSIXLY_CORRECT", "1"),
            ("PS4", "$(echo hostile)"),
            ("SHELLOPTS", "xtrace"),
            ("CDPATH", "/:/tmp"),
            ("ENV", "/nonexistent"),
            ("TIME_STYLE", "full-iso"),
            ("LS_BLOCK_SIZE", "1"),
            ("GREP_OPTIONS", "-v"),
            ("infra_go", "hostile"),
        ] {
            child.env(name, value);
        }
        let mut child = child.kill_on_drop(true).spawn()?;
        let (input, mut out, mut err) =
            (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (shell, feed) = Shell::new(input, user)?;
        tokio::spawn(async move {
            let (mut one, mut two) = ([0; 4096], [0; 4096]);
            loop {
                let wanted = tokio::select! {
                    Ok(count @ 1..) = out.read(&mut one) => feed.out(&one[..count]),
                    Ok(count @ 1..) = err.read(&mut two) => feed.err(&two[..count]),
                    () = feed.closed() => false,
                    _ = child.wait() => false,
                };
                if !wanted {
                    return feed.end(None);
                }
            }
        });
        Ok(shell)
    }
}

#[async_trait]
impl Transport for OddShell {
    async fn exec(&self, user: Option<&str>, scripts: &[Script]) -> Result<Vec<Output>> {
        self.shells.run(user, scripts, || async { self.open(user) }).await
    }

    async fn pour(&self, user: Option<&str>, script: &Script, source: &mut Source<'_>) -> Result<Output> {
        Local::default().pour(user, script, source).await
    }

    async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn Stream>> {
        Local::default().dial(host, port).await
    }
}

#[tokio::test]
async fn an_odd_environment_changes_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().display();
    let tasks = format!(
        "    - {{setup: }}\n    \
         - {{assert: {{that: [ansible_facts.system == 'Linux', ansible_facts.env.LC_ALL == 'de_DE.UTF-8']}}}}\n    \
         - {{file: {{path: {base}/d 1, state: directory}}}}\n    \
         - {{copy: {{content: \"a b\\n\", dest: {base}/d 1/f, mode: '0640'}}}}\n    \
         - {{lineinfile: {{path: {base}/d 1/f, line: c d}}}}\n    \
         - {{stat: {{path: {base}/d 1/f}}, register: f}}\n    \
         - {{assert: {{that: [f.stat.exists, f.stat.mode == '0640', f.stat.size == 8]}}}}\n    \
         - {{shell: \"echo $LC_ALL; printf '%s' done\", register: out}}\n    \
         - {{assert: {{that: \"out.stdout_lines == ['de_DE.UTF-8', 'done']\"}}}}\n    \
         - {{name: last, debug: {{msg: end}}}}\n"
    );
    let odd = OddShell { shells: Shells::default(), folder: folder.path().to_owned() };
    let (recap, events) = play(&tasks, Arc::new(odd), Peer::new(Says::Nothing), Duration::from_mins(2)).await;
    let tally = recap.hosts["bad"];
    assert!(
        tally.failed + tally.unreachable == 0 && finished(&events, "bad"),
        "{}",
        serde_json::to_string_pretty(&events).unwrap()
    );
}

/// The most memory, in KiB, of a process that runs one of the tests here.
fn peak_of(test: &str) -> usize {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("hostile::{test}"), "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let peak = text.lines().find_map(|line| line.split_once("peak in KiB: ")).expect("the child says its peak").1;
    println!("{test}: {} KiB", peak.trim());
    peak.trim().parse().unwrap()
}

fn say_peak() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("peak in KiB: {}", peak.trim().trim_end_matches("kB").trim());
}

/// The peak of a process that is answered a gigabyte on each stream by a real shell stays small.
#[test]
fn a_gigabyte_costs_little_memory() {
    assert!(peak_of("child_that_is_answered_a_gigabyte") < 100 << 10);
}

#[tokio::test]
#[ignore = "a process of its own, for `a_gigabyte_costs_little_memory`"]
async fn child_that_is_answered_a_gigabyte() {
    let tasks = "    - {name: asks, shell: \"yes | head -c 1000000000\", ignore_errors: true}\n    \
                 - {name: asks, shell: \"yes | head -c 1000000000 >&2\", ignore_errors: true}\n    \
                 - {name: last, debug: {msg: end}}\n";
    let (recap, events) =
        play(tasks, Arc::new(Local::default()), Peer::new(Says::Nothing), Duration::from_mins(2)).await;
    assert_eq!(recap.hosts["bad"].ignored, 2, "{events:?}");
    assert!(finished(&events, "bad") && finished(&events, "good"));
    say_peak();
}
