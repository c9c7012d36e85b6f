//! What pipelines use: the stream of events, files for other programs, and the examples of `examples/ci/`, run as far as that
//! can be done without their services.

use std::{collections::BTreeMap, path::Path, process::Stdio};

use infra::yaml::{self, Node, Source};
use serde_json::Value;

use crate::{
    e2e::{Dev, eventually, left},
    support::repository,
};

const PLAY: &str = "- hosts: all\n  become: true\n  tasks:\n    - name: a file\n      copy: {content: '{{ env.name }}', dest: /etc/name}\n";

/// A template of one machine with an output.
fn template(suffix: &str) -> Dev {
    let dev = Dev::with_file(
        suffix,
        "instances:\n  a: {network: {nat: true}, resources: {memory: 128M}}\nplaybooks: [site.yml]\n\
         outputs: {address: '{{ hosts.a.address }}'}\n",
    );
    dev.sandbox.write(&format!("envs/{}/site.yml", dev.name), PLAY);
    dev
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_a_run_is_told_to_other_programs() {
    let dev = template("told");
    let out = dev.run(&["apply", "--yes", "--json", "--wait-healthy", "--junit", "junit.xml"], 0).out;
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().all(|event| event["v"] == 1 && event["event"].is_string()), "{out}");
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["created"]), (&"summary".into(), &2.into()));
    assert!(events.iter().any(|event| event["event"] == "finished" && event["done"] == "healthy"), "{out}");
    let known: Vec<String> = infra::event::schema()["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["properties"]["event"]["const"].as_str().unwrap().to_owned())
        .collect();
    for event in &events {
        let name = event["event"].as_str().unwrap();
        assert!(name == "summary" || known.iter().any(|other| other == name), "`{name}` is not documented");
    }
    let junit = std::fs::read_to_string(dev.sandbox.path("junit.xml")).unwrap();
    assert!(junit.contains("<testcase classname=\"a\" name=\"a file\""), "{junit}");

    let trace: Value = serde_json::from_str(&dev.run(&["trace"], 0).out).unwrap();
    let spans = trace["traceEvents"].as_array().unwrap();
    assert!(spans.iter().any(|span| span["ph"] == "X" && span["name"] == "a file"), "{trace}");
    let dot = dev.run(&["graph", "--format", "dot"], 0).out;
    assert!(dot.contains("\"subnet.main\" -> \"vm.a\" [color=red") && dot.contains("\"a\" -> \"play: all\""), "{dot}");
    dev.run(&["graph", "--out", "graph.svg"], 0).silent();
    let svg = std::fs::read_to_string(dev.sandbox.path("graph.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.matches("<rect").count() == 5, "{svg}");

    // A task that fails points at itself, in the log and in the report.
    dev.sandbox.write(&format!("envs/{}/site.yml", dev.name), &format!("{PLAY}    - command: 'false'\n"));
    let mut command = dev.sandbox.command(&["apply", &dev.name, "--yes", "--junit", "junit.xml"]);
    command.env("GITHUB_ACTIONS", "true").stdin(Stdio::null());
    let failed = dev.sandbox.finish(command, &["apply"], 1);
    assert!(failed.out.contains("::error title=a%3A command::"), "{}", failed.out);
    assert!(std::fs::read_to_string(dev.sandbox.path("junit.xml")).unwrap().contains("<failure"));
    dev.edit("config.yaml", "memory: 128M", "memry: 128M");
    let mut command = dev.sandbox.command(&["plan", &dev.name]);
    command.env("GITHUB_ACTIONS", "true");
    let wrong = dev.sandbox.finish(command, &["plan"], 2);
    assert!(wrong.out.contains(&format!("::error file=envs/{}/config.yaml,line=2,col=", dev.name)), "{}", wrong.out);
    dev.edit("config.yaml", "memry: 128M", "memory: 128M");

    // A command that takes longer than it may stops, and says so; what is not healthy is named.
    let waits = "    - wait_for: {path: /tmp/never, timeout: 600}\n";
    dev.sandbox.write(&format!("envs/{}/site.yml", dev.name), &format!("{PLAY}{waits}"));
    let late = dev.run(&["apply", "--yes", "--timeout", "3s"], 1).err;
    assert!(late.contains("the time of `--timeout` is up"), "{late}");
    let unit = "[Service]\\nExecStart=/bin/false\\n";
    let breaks = format!(
        "    - copy: {{content: \"{unit}\", dest: /etc/systemd/system/broken.service}}\n    \
         - command: systemctl start broken\n"
    );
    dev.sandbox.write(&format!("envs/{}/site.yml", dev.name), &format!("{PLAY}{breaks}"));
    let sick = dev.run(&["apply", "--yes", "--wait-healthy=2s"], 1).err;
    assert!(sick.contains("`a` is not healthy: failed services: broken.service"), "{sick}");
}

/// A project in which the template is called `dev`, with the program on its path.
fn project(suffix: &str) -> (Dev, BTreeMap<&'static str, String>) {
    let dev = template(suffix);
    crate::e2e::copy(&dev.sandbox.path(&format!("envs/{}", dev.name)), &dev.sandbox.path("envs/dev"));
    let test = "#!/bin/sh\necho \"tested $ADDRESS\" >>tested\n[ -n \"$ADDRESS\" ] && [ ! -e broken ]\n";
    dev.sandbox.write("test-against-it", test);
    let program = Path::new(env!("CARGO_BIN_EXE_infra")).parent().unwrap();
    std::process::Command::new("chmod")
        .args(["+x", "test-against-it"])
        .current_dir(dev.sandbox.folder.path())
        .status()
        .unwrap();
    #[expect(clippy::disallowed_methods, reason = "the program is put before the usual ones")]
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let variables =
        BTreeMap::from([("PATH", path), ("NAME", format!("{}-pr", dev.name)), ("GITHUB_ENV", "env".to_owned())]);
    (dev, variables)
}

fn shell(dev: &Dev, variables: &BTreeMap<&str, String>, script: &str) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    command.args(["-e", "-c", script]).current_dir(dev.sandbox.folder.path()).envs(variables).env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn example(name: &str) -> Node {
    let path = repository().join("examples/ci").join(name);
    yaml::parse(&Source::new(path.clone(), std::fs::read_to_string(path).unwrap())).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_the_workflow_of_github_actions() {
    let (dev, mut variables) = project("github");
    let workflow = example("github-actions.yml");
    let steps = workflow.get("jobs").unwrap().get("test").unwrap().get("steps").unwrap();
    for (broken, expected) in [(false, true), (true, false)] {
        if broken {
            dev.sandbox.write("broken", "");
        }
        let (mut well, mut ran) = (true, Vec::new());
        for step in steps.items().unwrap() {
            let (Some(script), name) =
                (step.get("run").and_then(Node::as_str), step.get("name").and_then(Node::as_str))
            else {
                continue;
            };
            let always = step.get("if").and_then(Node::as_str) == Some("always()");
            if name == Some("Install infra") || !(well || always) {
                continue;
            }
            // GitHub reads the variables that a step has written before the next one.
            if let Ok(text) = std::fs::read_to_string(dev.sandbox.path("env")) {
                let value = text.lines().find_map(|line| line.strip_prefix("ADDRESS=")).unwrap().to_owned();
                variables.insert("ADDRESS", value);
            }
            let output = shell(&dev, &variables, script).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() || (broken && name == Some("Test")), "{name:?}: {said}");
            well &= output.status.success();
            ran.push(name.unwrap().to_owned());
        }
        assert_eq!(well, expected);
        assert!(ran.contains(&"Destroy the environment".to_owned()));
        assert_eq!(left(&variables["NAME"]).await, Vec::<String>::new());
        for file in ["infra.xml", "graph.svg", "trace.json"] {
            assert!(std::fs::metadata(dev.sandbox.path(file)).unwrap().len() > 100, "{file}");
        }
    }
    let tested = std::fs::read_to_string(dev.sandbox.path("tested")).unwrap();
    assert!(tested.lines().count() == 2 && tested.starts_with("tested 10."), "{tested}");
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_the_job_of_gitlab() {
    let (dev, variables) = project("gitlab");
    let file = example("gitlab-ci.yml");
    let lines = |key: &str| -> String {
        let items = file.get("environment").unwrap().get(key).unwrap().items().unwrap();
        items.iter().map(|item| format!("{}\n", item.as_str().unwrap())).collect()
    };
    // GitLab runs the lines of a script in one shell, and those of `after_script` in another.
    let output = shell(&dev, &variables, &lines("script")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!left(&variables["NAME"]).await.is_empty());
    let output = shell(&dev, &variables, &lines("after_script")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(left(&variables["NAME"]).await, Vec::<String>::new());
    assert!(std::fs::read_to_string(dev.sandbox.path("tested")).unwrap().starts_with("tested 10."));
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_the_plain_script_cleans_up_however_it_ends() {
    let (dev, variables) = project("script");
    let script = repository().join("examples/ci/fresh-environment.sh");
    let run = |command: &str| {
        shell(&dev, &variables, &format!("exec {} dev \"$NAME\" {command}", script.display())).spawn().unwrap()
    };
    let well = run("./test-against-it").wait_with_output().unwrap();
    assert!(well.status.success(), "{}", String::from_utf8_lossy(&well.stderr));
    assert_eq!(left(&variables["NAME"]).await, Vec::<String>::new());
    let failed = run("sh -c 'exit 7'").wait_with_output().unwrap();
    assert_eq!(failed.status.code(), Some(7), "{}", String::from_utf8_lossy(&failed.stderr));
    assert_eq!(left(&variables["NAME"]).await, Vec::<String>::new());
    // The job is cancelled while it tests, and while the environment is being made: a runner asks its processes to stop.
    for tests in [true, false] {
        let child = run(if tests { "sh -c 'touch testing; exec sleep 100'" } else { "true" });
        let begun = dev.sandbox.path("testing");
        if tests {
            eventually("it tests", 60, || async { begun.exists() }).await;
        } else {
            eventually("something is made", 60, || async { !left(&variables["NAME"]).await.is_empty() }).await;
        }
        let id = child.id().to_string();
        std::process::Command::new("pkill").args(["-TERM", "-P", &id]).status().unwrap();
        std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
        let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(left(&variables["NAME"]).await, Vec::<String>::new());
    }
}
