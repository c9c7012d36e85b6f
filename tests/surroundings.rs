//! What an environment file needs of the machine that it is applied on: found before anything is touched, each with its place.

use serde_json::Value;

use crate::support::{Printed, Sandbox, stub_engine::StubEngine};

fn sandbox(file: &str) -> Sandbox {
    Sandbox::new().file("envs/dev/config.yaml", file)
}

/// The mistakes and warnings, each with its place in the file.
fn said(printed: &Printed) -> Vec<String> {
    let lines = printed.err.lines().filter(|line| line.contains(": error: ") || line.contains(": warning: "));
    lines.map(|line| line.rsplit("config.yaml:").next().unwrap().replace("$PROJECT/", "")).collect()
}

#[test]
fn secrets_without_a_value_are_found_before_anything_is_asked() {
    let sandbox = sandbox(
        "secrets:
  token: {env: INFRA_TEST_THAT_NOTHING_SETS}
  certificate: {file: none.pem}
  empty: {file: empty.txt}
  made: {generate: 20}
",
    )
    .file("envs/dev/empty.txt", "\n");
    let mistakes = |severity: &str| {
        vec![
            format!(
                "2:10: {severity}: the secret `token` is read from the variable `INFRA_TEST_THAT_NOTHING_SETS`, which is not set"
            ),
            format!(
                "3:16: {severity}: the secret `certificate` is read from the file `envs/dev/none.pem`, which does not exist"
            ),
            format!("4:10: {severity}: the secret `empty` is read from the file `envs/dev/empty.txt`, which is empty"),
        ]
    };
    // Where files are only checked, secrets may be missing.
    let printed = sandbox.run(&["validate", "dev"], 0);
    assert_eq!(said(&printed).iter().map(|line| tail(line)).collect::<Vec<_>>(), tails(&mistakes("warning")));
    for arguments in [&["plan", "dev"][..], &["apply", "dev", "--yes"]] {
        let printed = sandbox.run(arguments, 2);
        assert_eq!(said(&printed).iter().map(|line| tail(line)).collect::<Vec<_>>(), tails(&mistakes("error")));
    }
    let mut command = sandbox.command(&["plan", "dev"]);
    command.env("INFRA_TEST_THAT_NOTHING_SETS", "");
    let printed = sandbox.finish(command, &["plan", "dev"], 2);
    assert!(printed.err.contains("`INFRA_TEST_THAT_NOTHING_SETS`, which is empty"), "{}", printed.err);
    assert!(!sandbox.path(".infra").exists(), "nothing was begun");
}

/// A line without its column: which part of a declaration is marked is not what is tried here.
fn tail(line: &str) -> String {
    let mut parts = line.splitn(3, ':');
    let (number, _, rest) = (parts.next().unwrap(), parts.next(), parts.next().unwrap());
    format!("{number}:{rest}")
}

fn tails(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| tail(line)).collect()
}

#[test]
fn a_password_is_not_generated_for_a_typing_error() {
    let file = |password: &str| {
        format!(
            "secrets: {{pw: {{generate: 20}}}}\npostgres:\n  main:\n    databases: {{app: {{owner: app}}}}\n    users: {{app: {{password: {password}}}}}\n"
        )
    };
    for password in ["pw", "another"] {
        let _ = sandbox(&file(password)).run(&["validate", "dev"], 0);
    }
    let printed = sandbox(&file("pww")).run(&["validate", "dev"], 2);
    assert_eq!(said(&printed), ["5:29: error: there is no secret `pww`"]);
    assert!(printed.err.contains("did you mean `pw`?"), "{}", printed.err);
}

#[test]
fn keys_of_a_state_are_checked_before_something_has_to_be_encrypted() {
    let printed = sandbox("state:\n  recipients: [age1xxx]\n").run(&["validate", "dev"], 2);
    let found = said(&printed);
    assert!(found[0].starts_with("2:16: error: `age1xxx` in `state.recipients` is not an age recipient"), "{found:?}");
    let sandbox = sandbox("state:\n  key_file: nokey\n");
    let printed = sandbox.run(&["validate", "dev"], 0);
    assert_eq!(said(&printed), ["2:13: warning: there is no key in `envs/dev/nokey`"]);
    for arguments in [&["plan", "dev"][..], &["apply", "dev", "--yes"]] {
        assert_eq!(said(&sandbox.run(arguments, 2)), ["2:13: error: there is no key in `envs/dev/nokey`"]);
    }
}

#[test]
fn mistakes_are_read_by_programs_with_their_places() {
    let sandbox = sandbox("instances: {web: {}}\nplaybooks: [site.yml]\n")
        .file("envs/dev/site.yml", "- hosts: web\n  tasks:\n    - debug: {msg: \"{{ nothing_defines_this }}\"}\n");
    let printed = sandbox.run(&["validate", "dev", "--json"], 2);
    let error: Value = serde_json::from_str(printed.out.lines().last().unwrap()).unwrap();
    let place = &error["diagnostics"][0];
    assert_eq!((&error["event"], &place["line"], &place["severity"]), (&"error".into(), &3.into(), &"error".into()));
    assert!(place["file"].as_str().unwrap().ends_with("envs/dev/site.yml"), "{error}");
    assert!(place["column"].is_u64() && place["message"].as_str().unwrap().contains("nothing_defines_this"), "{error}");
    // The summary names the file that the mistake is in.
    assert!(error["message"].as_str().unwrap().contains("site.yml` has 1 mistake"), "{error}");
    sandbox.write("envs/dev/site.yml", "- hosts: web\n  tasks: [{debug: {msg: a}}]\n");
    let printed = sandbox.run(&["validate", "dev", "--json"], 0);
    let valid: Value = serde_json::from_str(printed.out.lines().last().unwrap()).unwrap();
    assert_eq!((&valid["v"], &valid["event"], &valid["machines"]), (&1.into(), &"valid".into(), &1.into()), "{valid}");
}

#[test]
fn a_mistake_of_one_output_is_not_shown_at_another() {
    let file = "outputs: {x: \"nope {{ env.name }}\", y: \"{{ secret('nope') }}\"}\n";
    assert_eq!(
        said(&sandbox(file).run(&["validate", "dev"], 2)),
        ["1:52: error: there is no secret `nope` in the environment file"]
    );
}

#[test]
fn what_the_provider_has_not_is_said_and_not_planned() {
    let file = "registries: {r: {}}
addresses: {a: {}}
instances: {web: {resources: {disk_type: network-ssd, class: m6i.large}, network: {nat: true, address: a}}}
instance_groups: {app: {node_count: 1, deploy_policy: {max_unavailable: 1}, health_check: {port: 80}}}
nginx: {front: {upstreams: {app: {group: app, port: 0}}, locations: {/: {upstream: app}}}}
";
    let printed = sandbox(file).run(&["validate", "dev"], 2);
    assert!(printed.err.contains("`port` must be between 1 and 65535, this is 0"), "{}", printed.err);
    let project = sandbox(&file.replace("port: 0", "port: 8080"));
    let printed = project.run(&["validate", "dev"], 0);
    for what in [
        "the registry `r`",
        "the reserved address `a`",
        "`disk_type` of `web`",
        "`class` of `web`",
        "`deploy_policy` of `app`",
        "`health_check` of `app`",
    ] {
        let wanted = format!("{what} is ignored: provider `docker` has no such thing");
        assert!(printed.err.contains(&wanted), "{wanted}: {}", printed.err);
    }
    let text = std::fs::read_to_string(project.path("envs/dev/config.yaml")).unwrap();
    let environment = crate::support::commands::environment(project.folder.path(), &text);
    let provider = infra::provider::open(&environment).unwrap();
    for resource in provider.resources(&environment) {
        assert!(provider.driver(resource.address.kind).is_some(), "{}", resource.address);
        assert!(resource.needs.iter().all(|need| provider.driver(need.kind).is_some()), "{:?}", resource.needs);
    }
}

#[test]
fn names_that_mean_something_else_are_found() {
    let file = "instances: {all: {}, localhost: {}, web: {}}\n";
    let found = said(&sandbox(file).run(&["validate", "dev"], 2));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("a machine cannot be called `all`") && found[1].contains("`localhost`"), "{found:?}");
    let file = "instances: {web: {}}\nvars:\n  env: x\n  groups: 3\n  hosts: {}\n  mine: 1\n";
    let found = said(&sandbox(file).run(&["validate", "dev"], 0));
    assert_eq!(
        found,
        [
            "3:3: warning: `env` hides the variable `env` that infra sets for playbooks and templates",
            "4:3: warning: `groups` is a magic variable: this value is never used",
            "5:3: warning: `hosts` hides the variable `hosts` that infra sets for playbooks and templates",
        ]
    );
}

#[test]
fn keywords_of_tasks_have_values_that_mean_something() {
    let playbook = "- hosts: web
  tasks:
    - command: 'true'
      retries: abc
      ignore_errors: maybe
      throttle: few
      no_log: \"{{ quiet | default(false) }}\"
    - command: 'true'
      delegate_to: nosuchhost
    - command: 'true'
      delegate_to: localhost
      become: yes
    - command: 'true'
      delegate_to: elsewhere
      when: false
";
    let printed = sandbox("instances: {web: {ansible_groups: [web]}}\nplaybooks: [site.yml]\n")
        .file("envs/dev/site.yml", playbook)
        .run(&["validate", "dev"], 2);
    let lines = printed.err.lines().filter(|line| line.contains(": error: ") || line.contains(": warning: "));
    let found: Vec<&str> = lines.map(|line| line.rsplit("site.yml:").next().unwrap()).collect();
    for wanted in [
        "4:16: error: `retries: abc`",
        "5:22: error: `ignore_errors: maybe` is neither true nor false",
        "6:17: error: `throttle: few`",
        "9:20: error: `delegate_to: nosuchhost` is no machine of this environment",
        "14:20: warning: `delegate_to: elsewhere` is no machine of this environment",
    ] {
        assert!(found.iter().any(|line| line.starts_with(wanted)), "{wanted}: {found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
}

/// The plan says which secrets are made or changed, apply does it, and `run` says that it still uses those of the last apply.
#[tokio::test(flavor = "multi_thread")]
async fn changed_secrets_are_planned() {
    const NETWORK: &str = "network: {subnets: {a: {v4_cidr_blocks: [10.93.0.0/24]}}}\n";
    let engine = StubEngine::start("A").await;
    let project =
        sandbox(&format!("{NETWORK}secrets: {{token: {{generate: 20}}, given: {{env: INFRA_TEST_GIVEN}}}}\n"));
    let run = |arguments: &[&str], given: &str, code: i32| {
        tokio::task::block_in_place(|| {
            let mut command = project.command(arguments);
            command.env("DOCKER_HOST", &engine.host).env("INFRA_TEST_GIVEN", given).stdin(std::process::Stdio::null());
            project.finish(command, arguments, code)
        })
    };
    let said = run(&["apply", "dev", "--yes"], "first-value", 0).err;
    assert!(said.contains("+ secret.token  (generated, 20 characters)"), "{said}");
    assert!(said.contains("+ secret.given  (read from the variable `INFRA_TEST_GIVEN`)"), "{said}");
    assert!(!run(&["plan", "dev"], "first-value", 0).out.contains("secret."), "a second apply changes nothing");
    project.write(
        "envs/dev/config.yaml",
        &format!("{NETWORK}secrets: {{token: {{generate: 30}}, given: {{env: INFRA_TEST_GIVEN}}}}\n"),
    );
    let said = run(&["run", "dev", "-m", "ping", "--limit", "none"], "second-value", 2).err;
    assert!(said.contains("warning: the secret `token` is that of the last apply"), "{said}");
    assert!(said.contains("warning: the secret `given` is that of the last apply"), "{said}");
    let planned = run(&["plan", "dev"], "second-value", 0).out;
    assert!(
        planned.contains("~ secret.token  (generated again, 30 characters: the present value has 20)"),
        "{planned}"
    );
    assert!(planned.contains("~ secret.given  (the variable `INFRA_TEST_GIVEN` has another value)"), "{planned}");
    assert!(!planned.contains("second-value"), "{planned}");
    let _ = run(&["apply", "dev", "--yes"], "second-value", 0);
    assert!(!run(&["plan", "dev"], "second-value", 0).out.contains("secret."));
    let _ = run(&["destroy", "dev", "--yes"], "", 0);
}

#[test]
fn what_has_begun_never_says_that_nothing_was_changed() {
    use infra::error::Error;
    assert_eq!(Error::usage("a wrong recipient").exit_code(), 2);
    assert_eq!(Error::usage("a wrong recipient").begun().exit_code(), 1);
    assert_eq!(Error::interrupted("stopped").begun().exit_code(), 130);
}

#[test]
fn a_plan_names_the_machines_that_a_play_is_for() {
    let project = sandbox("instances: {web: {ansible_groups: [web]}, gate: {}, db: {}}\nplaybooks: [site.yml]\n").file(
        "envs/dev/site.yml",
        "- {hosts: web, tasks: []}\n- {hosts: 'd*', tasks: []}\n- {hosts: localhost, tasks: []}\n",
    );
    let text = std::fs::read_to_string(project.path("envs/dev/config.yaml")).unwrap();
    let environment = crate::support::commands::environment(&project.path("envs"), &text);
    let engine = infra::template::Engine::default();
    let loader = infra::configure::loader(&environment, &engine);
    let plays = loader.playbooks(&[project.path("envs/dev/site.yml")]).unwrap();
    let reached: Vec<String> = infra::configure::reached(&environment, &plays).into_iter().collect();
    assert_eq!(reached, ["db", "web"]);
}

#[test]
fn numbers_and_articles_are_right() {
    let schedule = |text: &str| {
        format!("postgres: {{main: {{databases: {{a: {{}}}}, backup: {{schedule: \"{text}\", keep: 7d}}}}}}\n")
    };
    let printed = sandbox(&schedule("0 25 * * *")).run(&["validate", "dev"], 2);
    assert!(printed.err.contains("`25` is not an hour of a schedule"), "{}", printed.err);
    let printed = sandbox(&schedule("0 3 * * *")).run(&["validate", "dev"], 0);
    assert!(printed.out.contains("`dev` is valid: 1 machine, 2 resources, 0 plays"), "{}", printed.out);
}
