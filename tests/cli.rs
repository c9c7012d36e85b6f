//! What people see, by the real program, without any machine.

use crate::support::Sandbox;

#[test]
fn every_mistake_is_told_in_one_run_with_its_place() {
    let sandbox = Sandbox::new().file(
        "envs/dev/config.yaml",
        "network:
  subnets:
    a: {v4_cidr_blocks: [10.5.0.0/24]}
    b: {v4_cidr_blocks: [10.5.0.0/25]}
    c: {v4_cidr_blocks: [10.300.0.0/24]}
instances:
  App: {}
  web:
    resources: {cores: 0, memory: lots}
    netwrk: {subnet: a}
postgres:
  main: {backup: {schedule: '61 * * * *', keep: 7d}}
",
    );
    let printed = sandbox.run(&["validate", "dev"], 2);
    let told = printed.err.replace("$PROJECT/", "");
    let lines: Vec<&str> = told.lines().filter(|line| line.contains(": error: ")).collect();
    assert_eq!(
        lines,
        [
            "envs/dev/config.yaml:4:9: error: `10.5.0.0/25` overlaps `10.5.0.0/24` of the subnet `a`",
            "envs/dev/config.yaml:5:26: error: `10.300.0.0/24` is not an IPv4 range like `10.5.0.0/24`",
            "envs/dev/config.yaml:7:3: error: `App` is not a valid name: use at most 63 lower-case letters, digits and `-`, \
             starting with a letter",
            "envs/dev/config.yaml:9:24: error: `cores` must be between 1 and 512, this is 0",
            "envs/dev/config.yaml:9:35: error: `lots` is not a size: write `512M`, `4G` or a number of GB",
            "envs/dev/config.yaml:10:5: error: unknown key `netwrk` in `web`",
            "envs/dev/config.yaml:12:29: error: `61` is not a minute of a schedule (0-59, `*`, `a-b`, `*/n`)",
        ]
    );
    assert!(told.contains("  = hint: did you mean `network`?"), "{told}");
    assert!(told.contains("10 |     netwrk: {subnet: a}\n    |     ^^^^^^\n"), "{told}");
}

#[test]
fn wrong_references_are_reported_beside_mistakes_of_shape() {
    let sandbox = Sandbox::new().file(
        "envs/dev/config.yaml",
        "instances:
  db:
    resources: {cores: many}
    network: {subnet: nowhere}
  web: [a, list]
instance_groups:
  app: {node_count: some}
postgres:
  main: {users: {app: {password: [x]}}, databases: {app: {owner: app}, api: {owner: apo}}}
nginx:
  front:
    upstreams:
      app: {group: app, port: 80}
      api: {group: apii, port: 80}
    locations: {/: {upstream: app}, /api: {upstream: apx}}
dns:
  names: {zone: example.org, records: [{name: www, to: app-1}, {name: api, to: nothing}]}
ttl: soon
",
    );
    let printed = sandbox.run(&["validate", "dev"], 2);
    let printed = printed.err.replace("$PROJECT/envs/dev/config.yaml:", "");
    let lines: Vec<&str> = printed.lines().filter(|line| line.contains(": error: ")).collect();
    assert_eq!(
        lines,
        [
            "3:24: error: `cores` must be a whole number, this is a text",
            "4:23: error: there is no subnet `nowhere`",
            "5:8: error: `web` must be a mapping, this is a list",
            "7:21: error: `node_count` must be a whole number, this is a text",
            "9:34: error: `password` must be a text, this is a list",
            "9:85: error: there is no user `apo`",
            "14:20: error: there is no group `apii`",
            "15:54: error: there is no upstream `apx`",
            "17:30: error: there is no machine, front or address `nothing`",
            "18:6: error: `soon` is not a duration: write `90s`, `5m`, `2h`, `7d` or a number of seconds",
        ],
        "nothing that is missing only because its own entry is wrong"
    );
}

#[test]
fn references_are_checked_across_sections() {
    let sandbox = Sandbox::new().file(
        "envs/dev/config.yaml",
        "network: {subnets: {a: {v4_cidr_blocks: [10.5.0.0/24]}, b: {v4_cidr_blocks: [10.5.0.0/25]}}}
instances:
  app-1: {network: {subnet: c}}
instance_groups:
  app: {node_count: 1, network: {subnet: a}}
nginx:
  front:
    network: {subnet: a}
    upstreams: {x: {group: ap, port: 80}}
    locations: {/: {upstream: y}}
playbooks: [site.yml]
",
    );
    let printed = sandbox.run(&["validate", "dev"], 2);
    for says in [
        "`10.5.0.0/25` overlaps `10.5.0.0/24` of the subnet `a`",
        "there is no subnet `c`",
        "there is no group `ap`",
        "did you mean `app`?",
        "there is no upstream `y`",
    ] {
        assert!(printed.err.contains(says), "{says}\n{}", printed.err);
    }
}

#[test]
fn what_would_change_a_configuration_file_is_refused_at_its_place() {
    let sandbox = Sandbox::new().file(
        "envs/dev/config.yaml",
        "instances: {app: {ansible_groups: [app]}}
postgres:
  main:
    settings:
      \"work_mem = '1MB'\\nx\": 1
      log_line_prefix: \"a\\nshared_preload_libraries = 'x'\"
      port: 1
    users: { \"a\\nb\": }
nginx:
  front:
    tls: { names: [\"a; return 200\"] }
    upstreams: { app: { group: app, port: 80 } }
    locations:
      \"/ { return 200; } #\": { upstream: app }
",
    );
    let printed = sandbox.run(&["validate", "dev"], 2);
    for says in [
        r"config.yaml:5:30: error: `work_mem = \'1MB\'\nx` is not the name of a setting",
        "config.yaml:6:24: error: the value of `log_line_prefix` has a line break or another control character",
        "config.yaml:7:13: error: `port` is set by infra and cannot be changed",
        r"error: `a\nb` cannot be the name of a login",
        "config.yaml:11:20: error: `a; return 200` is not a host name or an IP address",
        "error: a location is a path that begins with `/`, not `/ { return 200; } #`",
    ] {
        assert!(printed.err.contains(says), "{says}\n{}", printed.err);
    }
}

#[test]
fn what_cannot_work_is_found_by_validate() {
    let sandbox = Sandbox::new()
        .file("envs/dev/config.yaml", "ttl: 1000000000d\npostgres: {main: {version: 16}}\nplaybooks: [site.yml]\n");
    let printed = sandbox.run(&["validate", "dev"], 2);
    assert!(printed.err.contains("config.yaml:1:6: error: `ttl` is longer than ten years"), "{}", printed.err);
    let version = "config.yaml:2:28: error: `debian-12` has packages of PostgreSQL 15, not of 16";
    assert!(printed.err.contains(version) && printed.err.contains("write `version: 15`"), "{}", printed.err);
    // Packages of another repository are the user's affair.
    sandbox.write("envs/dev/config.yaml", "postgres: {main: {version: 16}}\nplaybooks: [own.yml, site.yml]\n");
    sandbox.write("envs/dev/own.yml", "- hosts: all\n  tasks: []\n");
    sandbox.run(&["validate", "dev"], 0).silent();
}

#[test]
fn a_file_that_is_no_environment_file_is_refused_in_one_short_answer() {
    let sandbox = Sandbox::new().file("envs/dev/config.yaml", "");
    std::fs::write(sandbox.path("envs/dev/config.yaml"), b"name: caf\xe9\n").unwrap();
    let printed = sandbox.run(&["validate", "dev"], 2);
    assert!(printed.err.contains("config.yaml:1:10: error: the byte 0xe9 is not UTF-8"), "{}", printed.err);
    let keys = |count: usize| (0..count).map(|n| format!("key_{n}: 1\n")).collect::<String>();
    sandbox.write("envs/dev/config.yaml", &keys(50_000));
    let printed = sandbox.run(&["validate", "dev"], 2);
    assert!(printed.err.lines().count() < 700 && printed.err.contains("and 49900 more"), "{}", printed.err.len());
    sandbox.write("envs/dev/config.yaml", &keys(1_000_000));
    let printed = sandbox.run(&["validate", "dev"], 2);
    assert!(printed.err.contains("an environment file has 1048576 at most"), "{}", printed.err);
    // One line as long as a file is shown in part.
    sandbox.write("envs/dev/config.yaml", &format!("{}: 1\n", "x".repeat(500_000)));
    let printed = sandbox.run(&["validate", "dev"], 2);
    assert!(printed.err.lines().all(|line| line.len() < 1000 || line.starts_with('$')), "{}", printed.err.len());
}

#[test]
fn unsupported_modules_and_keywords_are_found_before_any_host() {
    let sandbox = Sandbox::new()
        .file("envs/dev/config.yaml", "instances: {a: {}}\nplaybooks: [own.yml]\n")
        .file("envs/dev/own.yml", "- hosts: all\n  tasks:\n    - include_tasks: more.yml\n    - coppy: {}\n")
        .file(
            "envs/dev/more.yml",
            "- copy: {dst: /x, content: x}\n- command: ls\n  async: 5\n- debug: {msg: '{{ x'}\n",
        );
    let printed = sandbox.run(&["validate", "dev"], 2);
    for says in [
        "own.yml:4:7: error: the module `coppy` is not supported",
        "did you mean `copy`?",
        "more.yml:1:10: error: `copy` has no argument `dst`",
        "more.yml:3:3: error: the keyword `async` is not supported",
        "more.yml:4:16: error: ",
    ] {
        assert!(printed.err.contains(says), "{says}\n{}", printed.err);
    }
}

#[test]
fn a_play_may_use_what_an_earlier_one_has_registered() {
    let play = |tasks: &str| format!("- hosts: all\n  tasks:\n{tasks}");
    let sandbox = Sandbox::new().file("envs/dev/config.yaml", "instances: {a: {}}\nplaybooks: [own.yml]\n").file(
        "envs/dev/own.yml",
        &(play("    - command: id\n      register: foo\n    - set_fact: {bar: 1}\n")
            + &play("    - debug: {msg: '{{ foo.stdout }} {{ bar }}'}\n")),
    );
    sandbox.run(&["validate", "dev"], 0).silent();
    sandbox.write("envs/dev/own.yml", &play("    - debug: {msg: '{{ foo.stdout }}'}\n"));
    assert!(sandbox.run(&["validate", "dev"], 2).err.contains("`foo`"));
}

#[test]
fn an_unknown_environment_is_suggested() {
    let sandbox = Sandbox::new().file("envs/staging/config.yaml", "");
    let printed = sandbox.run(&["plan", "stagin"], 2);
    assert!(printed.err.contains("hint: did you mean `staging`?"), "{}", printed.err);
}

#[test]
fn an_engine_that_does_not_answer_is_told_with_what_mends_it() {
    let sandbox = Sandbox::new()
        .file("envs/dev/config.yaml", "docker: {host: 'unix:///nowhere/docker.sock'}\ninstances: {a: {}}\n");
    let printed = sandbox.run(&["plan", "dev"], 1);
    assert!(printed.err.contains("infra doctor"), "{}", printed.err);
    assert!(!sandbox.path(".infra/dev/state.json").exists());
}

#[test]
fn help_schema_and_completions_are_there() {
    let sandbox = Sandbox::new();
    let help = sandbox.run(&["--help"], 0).out;
    for command in
        ["apply", "destroy", "plan", "validate", "ls", "output", "ssh", "run", "inventory", "schema", "doctor"]
    {
        assert!(help.contains(&format!("\n  {command}")), "{command}\n{help}");
    }
    assert!(sandbox.run(&["schema"], 0).out.contains("\"instance_groups\""));
    assert!(sandbox.run(&["completions", "bash"], 0).out.contains("_infra"));
}

#[test]
fn what_a_cloud_does_not_sell_is_told_at_its_place() {
    let sandbox = Sandbox::new().file(
        "envs/dev/config.yaml",
        "provider: yandex\nfolder_id: b1gx\ninstances:\n  a: {resources: {cores: 3, memory: 4}}\n  b: {resources: {memory: 1}}\n",
    );
    let printed = sandbox.run(&["validate", "dev"], 2);
    assert!(
        printed.err.contains("config.yaml:4:3: error: Yandex Cloud has no machines with 3 cores"),
        "{}",
        printed.err
    );
    sandbox
        .write("envs/dev/config.yaml", "provider: aws\naws: {region: x}\ninstances: {a: {resources: {cores: 500}}}\n");
    let printed = sandbox.run(&["validate", "dev"], 2);
    assert!(printed.err.contains("config.yaml:3:17: error: no class of machines has 500 cores"), "{}", printed.err);
}

/// Answers every request with this text, and notes its first line.
fn stub(answer: &'static str) -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = std::sync::Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let mut line = String::new();
            if BufReader::new(&stream).read_line(&mut line).is_ok() {
                noted.lock().unwrap().push(line.trim().to_owned());
            }
            let _ = write!(stream, "{answer}");
        }
    });
    (address, seen)
}

#[test]
fn credentials_of_a_machine_are_never_asked_for_through_a_proxy() {
    let (proxy, through_proxy) = stub("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let (metadata, asked) = stub(
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n\
         {\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\",\"Token\":\"some-token\",\"Expiration\":\"2099-01-01T00:00:00Z\"}",
    );
    let sandbox =
        Sandbox::new().file("envs/dev/config.yaml", "provider: aws\naws: {region: eu-central-1}\ninstances: {a: {}}\n");
    let mut command = sandbox.command(&["plan", "dev"]);
    for name in
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"]
    {
        command.env_remove(name);
    }
    command.env("HOME", sandbox.folder.path()).env("http_proxy", &proxy).env("https_proxy", &proxy);
    command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{metadata}/credentials"));
    command.env("AWS_ENDPOINT_URL", &metadata);
    command.stdin(std::process::Stdio::null());
    sandbox.finish(command, &["plan", "dev"], 1).silent();
    let through_proxy = through_proxy.lock().unwrap();
    assert!(through_proxy.iter().all(|line| !line.contains("credentials")), "{through_proxy:?}");
    assert!(!through_proxy.is_empty(), "calls of the cloud itself go through the proxy");
    assert_eq!(*asked.lock().unwrap(), ["GET /credentials HTTP/1.1"]);
}

#[test]
fn a_secret_that_is_too_short_to_be_hidden_is_not_generated() {
    let sandbox = Sandbox::new().file("envs/dev/config.yaml", "secrets: {pin: {generate: 5}}\n");
    let printed = sandbox.run(&["validate", "dev"], 2);
    assert!(
        printed.err.contains("config.yaml:1:27: error: `generate` must be between 8 and 256, this is 5"),
        "{}",
        printed.err
    );
}

#[test]
fn an_engine_on_another_machine_is_used_with_tls_only() {
    let sandbox = Sandbox::new().file("envs/dev/config.yaml", "instances: {a: {}}\n");
    let mut command = sandbox.command(&["plan", "dev"]);
    command.env_remove("DOCKER_TLS_VERIFY").env("DOCKER_HOST", "tcp://docker:2375").stdin(std::process::Stdio::null());
    let printed = sandbox.finish(command, &["plan", "dev"], 2);
    assert!(
        printed.err.contains("`tcp://docker:2375` is on another machine") && printed.err.contains("DOCKER_CERT_PATH"),
        "{}",
        printed.err
    );
}
