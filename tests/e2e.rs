//! The whole job on real machines: containers of the local Docker Engine. The real program is run as a user runs it.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use infra::{cloud::docker::Client, provider::docker::endpoint};
use serde_json::Value;

use crate::support::{Printed, Sandbox, repository};

/// A copy of the dev environment in a project of its own; destroyed when dropped, whatever happened.
pub(crate) struct Dev {
    pub(crate) sandbox: Sandbox,
    pub(crate) name: String,
}

impl Dev {
    fn new(suffix: &str) -> Self {
        let name = format!("e2e-{}-{suffix}", std::process::id());
        let sandbox = Sandbox::new();
        copy(&repository().join("envs/dev"), &sandbox.path(&format!("envs/{name}")));
        Self { sandbox, name }
    }

    /// An environment of a file.
    pub(crate) fn with_file(suffix: &str, file: &str) -> Self {
        let name = format!("e2e-{}-{suffix}", std::process::id());
        let sandbox = Sandbox::new().file(&format!("envs/{name}/config.yaml"), file);
        Self { sandbox, name }
    }

    /// An environment of two small machines without playbooks.
    pub(crate) fn small(suffix: &str) -> Self {
        let file = "instances:\n  a: {network: {nat: true}, resources: {memory: 128M}}\n  \
                    b: {resources: {memory: 128M, secondary_disk_size: 1}}\n";
        Self::with_file(suffix, file)
    }

    pub(crate) fn run(&self, arguments: &[&str], code: i32) -> Printed {
        let mut all = vec![arguments[0], self.name.as_str()];
        all.extend(&arguments[1..]);
        self.sandbox.run(&all, code)
    }

    pub(crate) fn apply(&self) -> Printed {
        self.run(&["apply", "--yes"], 0)
    }

    pub(crate) fn output(&self, name: &str) -> String {
        self.run(&["output", name], 0).out.trim().to_owned()
    }

    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.sandbox.path(&format!("envs/{}/{file}", self.name));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    pub(crate) fn ssh(&self, host: &str, command: &str) -> String {
        self.run(&["ssh", host, "--", command], 0).out
    }

    /// The name of a machine's container.
    fn container(&self, host: &str) -> String {
        let project = infra::project::read(self.sandbox.folder.path()).unwrap().unwrap();
        format!("infra-{project}_{}_{host}", self.name)
    }

    /// What the engine still has of this environment.
    pub(crate) async fn left(&self) -> Vec<String> {
        left(&self.name).await
    }
}

/// What the engine has of an environment.
pub(crate) async fn left(name: &str) -> Vec<String> {
    let client = engine();
    let label = format!("infra-env={name}");
    let mut left: Vec<String> =
        client.list_containers(&label).await.unwrap().into_iter().flat_map(|c| c.names).collect();
    left.extend(client.list_networks(Some(&label)).await.unwrap().into_iter().map(|network| network.name));
    left.extend(client.list_volumes(&label).await.unwrap().into_iter().map(|volume| volume.name));
    left
}

impl Drop for Dev {
    fn drop(&mut self) {
        // A test that failed half-way leaves nothing behind either, wherever its state lay by then.
        let destroyed = self.sandbox.command(&["destroy", &self.name, "--yes"]).stdin(Stdio::null()).output();
        if !destroyed.is_ok_and(|output| output.status.success()) {
            let removed = format!(
                "f=label=infra-env={}; docker ps -aq --filter $f | xargs -r docker rm -fv; \
                 docker network ls -q --filter $f | xargs -r docker network rm; \
                 docker volume ls -q --filter $f | xargs -r docker volume rm",
                self.name
            );
            let _ = std::process::Command::new("sh").args(["-c", &removed]).output();
        }
    }
}

pub(crate) fn engine() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(&endpoint(&infra::cloud::docker::DockerSettings::default()).unwrap()).unwrap()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for file in infra::files::walk(from).unwrap() {
        let target = to.join(&file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(from.join(&file), target).unwrap();
    }
}

pub(crate) fn http(ca: &str) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = reqwest::Certificate::from_pem(ca.as_bytes()).unwrap();
    let builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(2));
    builder.tls_certs_only([certificate]).build().unwrap()
}

/// Waits until something holds, with a deadline.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, seconds: u64, holds: impl Fn() -> F) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(seconds), "{what} did not happen within {seconds} s");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    begun.elapsed()
}

/// The counts of the machines in the summary of an apply: machine, ok, changed, failed, ...
pub(crate) fn changed(printed: &Printed) -> Vec<(String, usize)> {
    let lines = printed.err.lines().skip_while(|line| !line.starts_with("machine "));
    lines
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words[0].to_owned(), words[2].parse().unwrap())
        })
        .collect()
}

pub(crate) fn total(printed: &Printed) -> usize {
    changed(printed).iter().map(|(_, changed)| changed).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_the_dev_environment_from_nothing_to_nothing() {
    let dev = Dev::new("dev");
    let first = dev.apply();
    println!("{}", first.err);
    let (url, plain) = (dev.output("application"), dev.output("application_http"));
    let client = http(&dev.output("ca"));

    answers(&client, &url, &plain).await;
    let indexes =
        "sudo -u postgres psql -d bingo -tAc \"SELECT indexname FROM pg_indexes WHERE schemaname = 'public'\"";
    let indexes = dev.ssh("postgres-main", indexes);
    for name in ["movies_by_year", "sessions_by_movie", "customers_by_id"] {
        assert!(indexes.lines().any(|line| line.trim() == name), "{name}: {indexes}");
    }
    metrics(&dev, &client).await;

    let second = dev.apply();
    assert_eq!(total(&second), 0, "{}", second.err);
    budget(&dev);
    let plan = dev.run(&["plan", "--detailed-exitcode"], 0);
    assert!(plan.out.contains("resources: nothing to do"), "{}", plan.out);

    faults(&dev, &client, &plain).await;
    scale(&dev, &client, &plain).await;
    inventory(&dev);

    dev.run(&["destroy", "--yes"], 0);
    assert_eq!(dev.left().await, Vec::<String>::new());
    assert!(!dev.sandbox.run(&["ls"], 0).out.contains(&dev.name));
}

async fn answers(client: &reqwest::Client, url: &str, plain: &str) {
    for base in [url, plain] {
        let pong = client.get(format!("{base}/ping")).send().await.unwrap();
        assert_eq!((pong.status().as_u16(), pong.text().await.unwrap().as_str()), (200, "pong\n"));
    }
    let mut cache = Vec::new();
    for _ in 0..2 {
        let response = client.get(format!("{plain}/long_dummy")).send().await.unwrap();
        cache.push(response.headers()["x-proxy-cache"].to_str().unwrap().to_owned());
    }
    assert_eq!(cache, ["MISS", "HIT"]);
    let sessions: Vec<Value> = client.get(format!("{plain}/api/session")).send().await.unwrap().json().await.unwrap();
    assert_eq!(sessions.len(), 100_000);
    assert!(sessions.is_sorted_by_key(|row| (row["year"].as_i64(), row["movie"].as_str().map(str::to_owned))));
}

async fn metrics(dev: &Dev, client: &reqwest::Client) {
    let page = dev.output("monitoring");
    let base = page.split("/consoles").next().unwrap().to_owned();
    let up = || async {
        let Ok(response) = client.get(format!("{base}/api/v1/targets")).send().await else { return false };
        let Ok(targets) = response.json::<Value>().await else { return false };
        let targets = targets["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        targets.len() == 10 && targets.iter().all(|target| target["health"] == "up")
    };
    eventually("every target is up", 180, up).await;
    let counted = || async {
        let query = format!("{base}/api/v1/query?query=front_requests_total%7Bendpoint%3D%22/ping%22%7D");
        let answer: Value = client.get(query).send().await.unwrap().json().await.unwrap();
        !answer["data"]["result"].as_array().unwrap().is_empty()
    };
    eventually("requests are counted by endpoint", 120, counted).await;
    let text = client.get(&page).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("<h1>Overview</h1>") && text.contains("postgres-main"), "{text}");
}

/// What an apply that changes nothing costs in round trips.
fn budget(dev: &Dev) {
    let third = dev.run(&["apply", "--yes", "--json"], 0);
    let summary: Value = third.out.lines().map(|line| serde_json::from_str(line).unwrap()).next_back().unwrap();
    assert_eq!(summary["event"], "summary", "{}", third.out);
    let hosts = summary["hosts"].as_object().unwrap();
    assert_eq!(hosts.len(), 6);
    let execs = |host: &str| hosts[host]["execs"].as_u64().unwrap();
    // One request for the facts and one for all probes of the plays, and one more wherever a probe's text hangs on an earlier
    // answer.
    for (host, budget) in [("bastion", 2), ("monitoring", 2), ("nginx-front", 2), ("postgres-main", 3)] {
        assert!(execs(host) <= budget, "{host} took {} requests instead of {budget}", execs(host));
    }
    // The application waits for the database and looks whether it is filled: either machine does that, once for both.
    let both = execs("bingo-1") + execs("bingo-2");
    // Each of the tasks that are delegated to the first of them is done for the one that came first. The first machine asks for it
    // together with what follows; the second one needs a request of its own.
    let events = third.out.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let delegated = ["app : Install a database client", "app : List the indexes"];
    let by_the_second = |event: &Value| {
        event["event"] == "task_ended"
            && event["host"] == "bingo-2"
            && delegated.iter().any(|task| event["task"] == *task)
    };
    let most = 12 + events.filter(by_the_second).count() as u64;
    assert!(both <= most, "bingo-1 and bingo-2 took {both} requests instead of {most}:\n{}", third.out);
}

/// After each fault `/ping` through the front stays good, and the machine that went bad becomes good again by itself.
async fn faults(dev: &Dev, client: &reqwest::Client, plain: &str) {
    for fault in ["bad", "exit", "memory"] {
        let asked = client.post(format!("{plain}/fault/{fault}")).send().await.unwrap();
        assert_eq!(asked.status().as_u16(), 200);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(8) {
            let ping = client.get(format!("{plain}/ping")).timeout(Duration::from_secs(20));
            let status = ping.send().await.unwrap().status().as_u16();
            assert_eq!(status, 200, "a request failed {:?} after the fault `{fault}`", begun.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // The next fault goes to either of them.
        for host in ["bingo-1", "bingo-2"] {
            eventually("both machines are good again", 60, || async { is_good(dev, host) }).await;
        }
    }
}

/// Whether the application on a machine says that it is well.
fn is_good(dev: &Dev, host: &str) -> bool {
    let asked = "exec 3<>/dev/tcp/127.0.0.1/13526 && printf 'GET /ping HTTP/1.0\\r\\n\\r\\n' >&3 && timeout 5 cat <&3";
    dev.ssh(host, &format!("bash -c {} 2>/dev/null || true", infra::remote::quote(asked))).contains("pong")
}

/// A machine more, a template edited, a machine less: each changes only what depends on it.
async fn scale(dev: &Dev, client: &reqwest::Client, plain: &str) {
    for host in ["bingo-1", "bingo-2"] {
        assert_eq!(dev.ssh(host, "systemctl is-active bingo").trim(), "active");
    }
    dev.edit("config.yaml", "node_count: 2", "node_count: 3");
    let up = dev.apply();
    let hosts: Vec<String> = changed(&up).into_iter().filter(|(_, n)| *n > 0).map(|(host, _)| host).collect();
    assert_eq!(hosts, ["bingo-3", "monitoring", "nginx-front", "postgres-main"], "{}", up.err);
    assert!(up.err.contains("resources: 1 created, 0 changed, 0 destroyed"), "{}", up.err);
    let upstreams = "sudo grep -c 'server 10.*max_fails' /etc/nginx/nginx.conf";
    assert_eq!(dev.ssh("nginx-front", upstreams).trim(), "3");
    // The database was filled once, although three machines could have done it.
    let count = "sudo -u postgres psql -tA -d bingo -c 'SELECT count(*) FROM preparations'";
    assert_eq!(dev.ssh("postgres-main", count).trim(), "1");

    let own = repository().join("templates/nginx/nginx.conf.j2");
    let text = std::fs::read_to_string(own).unwrap().replace("keepalive_timeout 65;", "keepalive_timeout 66;");
    dev.sandbox.write(&format!("envs/{}/templates/nginx/nginx.conf.j2", dev.name), &text);
    let edited = dev.run(&["apply", "--yes", "--diff"], 0);
    assert_eq!(total(&edited), 2, "one file and one reload: {}", edited.err);
    assert!(
        edited.err.contains("-    keepalive_timeout 65;") && edited.err.contains("+    keepalive_timeout 66;"),
        "{}",
        edited.err
    );

    dev.edit("config.yaml", "node_count: 3", "node_count: 2");
    let down = dev.apply();
    assert!(down.err.contains("resources: 0 created, 0 changed, 1 destroyed"), "{}", down.err);
    assert_eq!(dev.ssh("nginx-front", upstreams).trim(), "2");
    assert_eq!(client.get(format!("{plain}/ping")).send().await.unwrap().status().as_u16(), 200);
}

fn inventory(dev: &Dev) {
    let list: Value = serde_json::from_str(&dev.run(&["inventory", "--list"], 0).out).unwrap();
    assert_eq!(list["bingo"]["hosts"], serde_json::json!(["bingo-1", "bingo-2"]));
    let host: Value = serde_json::from_str(&dev.run(&["inventory", "--host", "bingo-1"], 0).out).unwrap();
    assert_eq!(host["ansible_user"], "infra");
    // Ansible reaches the machines by OpenSSH's configuration, which exists and knows this one.
    let arguments = host["ansible_ssh_common_args"].as_str().unwrap();
    let config = arguments.strip_prefix("-F ").unwrap().trim_matches('\'').strip_prefix("$PROJECT/").unwrap();
    let config = std::fs::read_to_string(dev.sandbox.path(config)).unwrap();
    assert!(config.contains(host["ansible_host"].as_str().unwrap()), "{config}");
    let config = dev.run(&["ssh-config"], 0).out;
    assert!(
        config.contains("Host bingo-1 ")
            && config.contains("ProxyJump ")
            && config.contains("StrictHostKeyChecking yes")
    );
    // No secret in anything that was printed or is kept in plain text.
    let state = std::fs::read_to_string(dev.sandbox.path(&format!(".infra/{}/state.json", dev.name))).unwrap();
    let password = dev.ssh("bingo-1", "sudo grep password /opt/bingo/config.yaml");
    let password = password.trim().rsplit(' ').next().unwrap();
    assert_eq!(password.len(), 24, "{password}");
    assert!(!state.contains(password) && !state.contains("PRIVATE KEY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_an_apply_that_is_killed_anywhere_is_gone_on_from() {
    let dev = Dev::small("killed");
    // Each round kills the program after one more write of its state: before and after every call.
    for writes in 1..=9 {
        let mut child = dev
            .sandbox
            .command(&["apply", &dev.name, "--yes"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let state = dev.sandbox.path(&format!(".infra/{}/state.json", dev.name));
        let serial = || -> Option<u64> {
            serde_json::from_str::<Value>(&std::fs::read_to_string(&state).ok()?).ok()?["serial"].as_u64()
        };
        let deadline = Instant::now() + Duration::from_mins(2);
        loop {
            if serial().is_some_and(|serial| serial >= writes) || child.try_wait().unwrap().is_some() {
                break;
            }
            assert!(Instant::now() < deadline, "the state was never written {writes} times");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        dev.apply();
        let left = dev.left().await;
        assert_eq!(left.len(), 4, "killed after {writes} writes: {left:?}");
        assert!(dev.apply().err.contains("resources: 0 created, 0 changed, 0 destroyed"));
        assert_eq!(dev.ssh("b", "hostname").trim(), "b");
        dev.run(&["destroy", "--yes"], 0);
        assert_eq!(dev.left().await, Vec::<String>::new(), "killed after {writes} writes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_an_interrupted_apply_says_so_and_is_gone_on_from() {
    let dev = Dev::small("interrupted");
    dev.sandbox.write(
        &format!("envs/{}/wait.yml", dev.name),
        "- hosts: b\n  gather_facts: false\n  tasks:\n    - wait_for: {path: /tmp/never, timeout: 600}\n",
    );
    dev.edit("config.yaml", "instances:", "playbooks: [wait.yml]\ninstances:");
    let mut command = dev.sandbox.command(&["apply", &dev.name, "--yes"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let state = dev.sandbox.path(&format!(".infra/{}/state.json", dev.name));
    // The machines are there, and the playbook waits for what never comes.
    let made = || async {
        let state: Value =
            serde_json::from_str(&std::fs::read_to_string(&state).unwrap_or_default()).unwrap_or_default();
        ["vm.a", "vm.b"].iter().all(|vm| state["resources"].get(vm).is_some())
    };
    eventually("the machines are made", 120, made).await;
    let begun = Instant::now();
    // As a pipeline does whose job is cancelled.
    let sent = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(143), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{said}");
    // It depends on how far it had come: in the playbook, before the next call, or in the middle of one.
    let ends = ["goes on where this one stopped", "you asked to stop", "it goes on at the provider"];
    assert!(ends.iter().any(|end| said.contains(end)), "{said}");
    dev.edit("config.yaml", "playbooks: [wait.yml]\n", "");
    dev.apply();
    assert_eq!(dev.left().await.len(), 4);

    // A part of a plan: one machine again, or all but it.
    let planned = dev.run(&["plan", "--replace", "vm.b"], 0).out;
    assert!(
        planned.contains("± vm.b") && planned.contains("you asked for it") && !planned.contains("vm.a"),
        "{planned}"
    );
    let replaced = dev.run(&["apply", "--yes", "--target", "vm.b", "--replace", "vm.b"], 0);
    assert!(replaced.err.contains("resources: 1 created"), "{}", replaced.err);
    assert!(replaced.err.contains("only a part was applied"), "{}", replaced.err);
    let wrong = dev.run(&["plan", "--exclude", "vm.bb"], 2).err;
    assert!(wrong.contains("the plan has no `vm.bb`") && wrong.contains("did you mean `vm.b`?"), "{wrong}");
    // A protected environment goes when its name is repeated.
    dev.edit("config.yaml", "instances:", "protect: true\ninstances:");
    for refused in [&["destroy", "--yes"][..], &["destroy", "--yes", "--force-protected", "other"]] {
        let said = dev.run(refused, 2).err;
        assert!(said.contains("is protected") && said.contains(&format!("--force-protected {}", dev.name)), "{said}");
    }
    dev.run(&["destroy", "--yes", "--force-protected", &dev.name], 0);
    assert_eq!(dev.left().await, Vec::<String>::new());
    // All of it is remembered, also now that the environment is gone.
    let history: Value = serde_json::from_str(&dev.run(&["history", "--json"], 0).out).unwrap();
    let told = |field: &str| -> Vec<&str> {
        history.as_array().unwrap().iter().map(|entry| entry[field].as_str().unwrap()).collect()
    };
    assert_eq!(told("command"), ["apply", "apply", "apply", "destroy"]);
    assert!(told("outcome")[0].contains("stop") && told("outcome")[1..] == ["done", "done", "done"], "{history}");
    assert!(history[0]["changes"].as_array().unwrap().contains(&"+ vm.b".into()), "{history}");
    let table = dev.run(&["history"], 0).out;
    assert!(table.lines().count() == 5 && table.contains("± vm.b"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_two_environments_at_once_do_not_touch() {
    let (one, two) = (Dev::small("one"), Dev::small("two"));
    let start = |dev: &Dev| {
        let mut command = dev.sandbox.command(&["apply", &dev.name, "--yes"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [start(&one), start(&two)];
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!((one.left().await.len(), two.left().await.len()), (4, 4));
    one.run(&["destroy", "--yes"], 0);
    assert_eq!(two.ssh("b", "cat /proc/sys/kernel/hostname").trim(), "b");
    assert_eq!(two.left().await.len(), 4);
    // Only the machine that asks for it is published, and only on this machine.
    let (a, b) = (two.run(&["inventory", "--host", "a"], 0), two.run(&["inventory", "--host", "b"], 0));
    assert_ne!(a.out, b.out);
    // A machine that was stopped is started again; one that is gone is made again.
    let client = engine();
    client.remove_container(&two.container("b")).await.unwrap();
    let healed = two.apply();
    assert!(healed.err.contains("+ vm.b") && healed.err.contains("it is gone"), "{}", healed.err);
    assert_eq!(two.ssh("b", "hostname").trim(), "b");
}
