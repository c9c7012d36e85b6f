//! What `infra validate`, `apply` and `run` find in playbooks before any host is touched.

use crate::support::{Printed, Sandbox, repository};

const FILE: &str = "instances: {web-1: {ansible_groups: [web]}}\nplaybooks: [site.yml]\n";

fn sandbox(playbook: &str) -> Sandbox {
    Sandbox::new().file("envs/dev/config.yaml", FILE).file("envs/dev/site.yml", playbook)
}

/// The mistakes and warnings, each with its place.
fn said(printed: &Printed) -> Vec<String> {
    let lines = printed.err.lines().filter(|line| line.contains(": error: ") || line.contains(": warning: "));
    lines.map(|line| line.rsplit("site.yml:").next().unwrap().to_owned()).collect()
}

/// What validate says of a playbook with these tasks, which begin in its third line.
fn of_tasks(tasks: &str, code: i32) -> Vec<String> {
    said(&sandbox(&format!("- hosts: web\n  tasks:\n{tasks}")).run(&["validate", "dev"], code))
}

#[test]
fn validate_finds_files_that_are_missing() {
    let found = of_tasks(
        "    - copy:
        src: missing.conf
        dest: /etc/x
    - unarchive: {src: missing.tgz, dest: \"{{ inventory_hostname }}\"}
    - copy: {content: \"a {{ lookup('file', 'none.txt') }}\", dest: /etc/x}
    - debug: {msg: \"{{ lookup('template', 'none.j2') }}\"}
    - debug: {msg: \"{{ lookup('file', 'none.txt', errors='ignore') }}\"}
    - copy: {src: site.yml, dest: /etc/x}
    - copy: {src: /there/already, dest: /etc/x, remote_src: true}
    - copy: {src: maybe.conf, dest: /etc/x}
      when: inventory_hostname == 'other'
",
        2,
    );
    assert_eq!(
        found,
        [
            "4:14: error: `src` of `copy`: there is no file `missing.conf`",
            "6:24: error: `src` of `unarchive`: there is no file `missing.tgz`",
            "7:45: error: there is no file `none.txt`",
            "8:44: error: there is no template `none.j2`",
            "12:19: warning: `src` of `copy`: there is no file `maybe.conf`",
        ]
    );
}

#[test]
fn files_that_a_task_of_this_machine_may_make_are_no_mistake() {
    let found = of_tasks(
        "    - command: make package.tgz
      delegate_to: localhost
    - unarchive: {src: package.tgz, dest: /opt}
",
        0,
    );
    assert_eq!(found, ["5:24: warning: `src` of `unarchive`: there is no file `package.tgz`"]);
}

#[test]
fn validate_finds_missing_files_of_loops_that_are_written_out() {
    let found = of_tasks(
        "    - copy: {src: \"{{ item }}\", dest: \"/etc/{{ item }}\"}
      loop: [site.yml, one.conf, \"{{ inventory_hostname }}\"]
    - template: {src: \"{{ it.from }}.j2\", dest: /etc/x, mode: \"{{ it.mode | default(omit) }}\"}
      with_items:
        - [{from: two}]
      loop_control: {loop_var: it}
    - template: {src: \"{{ item.key }}\", dest: /etc/x}
      with_dict: {site.yml: a, three.j2: b}
      when: inventory_hostname == 'other'
    - copy: {src: \"{{ item }}\", dest: /etc/x}
      with_items: inventory_hostname
    - copy: {src: \"{{ item }}\", dest: \"{{ playbook_dir }}\", mode: \"{{ item }}\"}
      loop: [site.yml]
    - include_vars: \"{{ item }}\"
      loop: [none.yml]
    - copy: {src: \"{{ inventory_hostname }}/{{ item }}\", dest: /etc/x}
      loop: [a, b]
",
        2,
    );
    assert_eq!(
        found,
        [
            "3:19: error: `src` of `copy`: there is no file `one.conf`",
            "5:23: error: `src` of `template`: there is no template `two.j2`",
            "14:67: error: `mode` of `copy`: `\"site.yml\"` is not a mode: write '0644' or u=rw,g=r",
            "16:7: error: `include_vars`: there is no variables file `none.yml`",
            "9:23: warning: `src` of `template`: there is no template `three.j2`",
        ]
    );
}

#[test]
fn validate_finds_arguments_that_cannot_work() {
    let found = of_tasks(
        "    - service: {name: nginx, state: runing}
    - service: {name: \"{{ inventory_hostname }}\", state: runing}
    - copy: {content: a, src: site.yml, dest: /etc/x}
    - copy: {content: a}
    - wait_for: {port: abc, timeout: \"{{ ansible_port }}\"}
    - file: {state: directory, mode: \"{{ ansible_port }}\"}
    - template: {src: site.yml}
    - wait_for: {port: \"{{ ansible_port }}\", timeout: 5}
    - command: /bin/true
    - apt: {name: [a, \"{{ inventory_hostname }}\"], state: \"{{ ansible_port }}\"}
",
        2,
    );
    for (line, says) in [
        (3, "error: `state` of `service`: `runing` is not one of "),
        (4, "error: `state` of `service`: `runing` is not one of "),
        (5, "error: `content` of `copy`: give either `src` or `content`"),
        (6, "error: `copy`: `dest` is missing"),
        (7, "error: `port` of `wait_for`: `abc` is not a whole number"),
        (8, "error: `file`: "),
        (9, "error: `template`: `dest` is missing"),
    ] {
        let place = format!("{line}:");
        assert!(
            found.iter().any(|found| found.starts_with(&place) && found.contains(says)),
            "{line} {says}\n{found:#?}"
        );
    }
    assert_eq!(found.len(), 7, "{found:#?}");
    let found = of_tasks("    - debug: {msg: a}\n      loop: abc\n", 2);
    assert_eq!(found, ["4:13: error: a loop needs a list, this is a text"]);
    let found = of_tasks("    - debug: {msg: \"{{ lookup('fil', 'a') }}\"}\n", 2);
    assert_eq!(found, ["3:20: error: there is no lookup `fil`"]);
}

#[test]
fn validate_finds_plays_for_no_machine() {
    let sandbox = sandbox("- hosts: wbe\n  tasks: []\n- hosts: x*\n  tasks: []\n- hosts: web:&app\n  tasks: []\n");
    let printed = sandbox.run(&["validate", "dev"], 2);
    assert_eq!(
        said(&printed),
        [
            "1:10: error: the pattern `wbe` of the play `wbe` matches no host and no group",
            "3:10: warning: the pattern `x*` of the play `x*` matches no host and no group",
            "5:10: warning: the play `web:&app` matches no machine of this environment",
        ]
    );
    assert!(printed.err.contains("did you mean `web`?"), "{}", printed.err);

    // Another environment has such a group: the playbook is for both.
    sandbox.write("envs/prod/config.yaml", "instances: {a: {ansible_groups: [wbe]}}\n");
    let printed = sandbox.run(&["validate", "dev"], 0);
    assert!(printed.err.contains("1:10: warning: the pattern `wbe`"), "{}", printed.err);
}

#[test]
fn validate_leaves_open_what_earlier_plays_add() {
    let play = "- hosts: web\n  tasks: [{add_host: {name: new, groups: [made], colour: red}}]\n";
    let used = "- hosts: made\n  tasks: [{debug: {msg: \"{{ colour }}\"}, delegate_to: new}]\n";
    let printed = sandbox(&format!("{play}{used}")).run(&["validate", "dev"], 0);
    assert_eq!(said(&printed), Vec::<String>::new());
    // What comes before it does not have it yet.
    let printed = sandbox(&format!("{used}{play}")).run(&["validate", "dev"], 2);
    assert!(printed.err.contains("the pattern `made` of the play `made` matches no host"), "{}", printed.err);
}

#[test]
fn validate_finds_arguments_of_actions_that_cannot_work() {
    let found = of_tasks(
        "    - uri: {url: \"{{ inventory_hostname }}\", use_proxy: true}
    - uri: {url: http://x, body: a, body_format: form-multipart}
    - uri: {url: http://x, method: \"GE T\"}
    - uri: {url: http://x, status_code: [200, many]}
    - uri: {url: http://x, mode: rw}
    - uri: {url: http://x, follow_redirects: urllib2}
    - uri: {url: ftp://x}
    - get_url: {url: \"http://{{ inventory_hostname }}\", dest: /x, use_proxy: true}
    - get_url: {url: http://x, dest: /x, checksum: \"sha3:00\"}
    - get_url: {url: http://x, dest: /x, timeout: soon}
    - pause: {seconds: soon}
    - template: {src: site.yml, dest: /x, newline_sequence: x}
    - template: {src: site.yml, dest: /x, output_encoding: latin-1}
    - template: {src: site.yml, dest: /x, mode: rw}
    - wait_for_connection: {timeout: soon}
    - ping:
      retries: many
    - ping:
      delay: soon
    - uri: {url: \"{{ inventory_hostname }}/x\", method: PATCH, timeout: \"{{ ansible_port }}\"}
    - get_url: {url: \"{{ inventory_hostname }}/x\", dest: \"{{ inventory_hostname }}\", headers: \"{{ {} }}\"}
    - pause: {seconds: \"{{ ansible_port }}\", prompt: wait}
    - get_url: {url: http://x, dest: /x, mode: preserve}
    - uri: {url: http://x, dest: /x, mode: preserve}
",
        2,
    );
    for (place, says) in [
        ("3:57", "error: `use_proxy` of `uri`: `use_proxy: true` is not supported"),
        ("4:50", "error: `body_format` of `uri`: `body_format: form-multipart` is not supported"),
        ("5:36", "error: `method` of `uri`: `method`: `GE T` cannot be the method of a request"),
        ("6:41", "error: `status_code` of `uri`: `status_code`: `many` is not a status"),
        ("7:34", "error: `mode` of `uri`: "),
        ("8:46", "error: `follow_redirects` of `uri`: `follow_redirects: urllib2` is not supported"),
        ("9:18", "error: `url` of `uri`: `ftp` addresses cannot be fetched"),
        ("10:78", "error: `use_proxy` of `get_url`: `use_proxy: true` is not supported"),
        ("11:52", "error: `checksum` of `get_url`: `checksum`: there is no algorithm `sha3`"),
        ("12:51", "error: `timeout` of `get_url`: `timeout`: `soon` is not a number of seconds"),
        ("13:24", "error: `seconds` of `pause`: `seconds`: `soon` is not a number of seconds"),
        ("14:61", "error: `newline_sequence` of `template`: "),
        ("15:60", "error: `output_encoding` of `template`: `output_encoding: latin-1` is not supported"),
        ("16:49", "error: `mode` of `template`: "),
        ("17:38", "error: `timeout` of `wait_for_connection`: "),
        ("19:16", "error: `retries: many` is not a whole number"),
        ("21:14", "error: `delay: soon` is not a whole number"),
    ] {
        assert!(
            found.iter().any(|found| found.starts_with(&format!("{place}: ")) && found.contains(says)),
            "{place} {says}\n{found:#?}"
        );
    }
    let preserve = found.iter().filter(|found| found.contains("`mode: preserve` is for `copy` and `template`"));
    assert_eq!((found.len(), preserve.count()), (19, 2), "{found:#?}");
}

#[test]
fn validate_finds_what_no_machine_need_be_asked_for() {
    let sandbox = sandbox(
        "- hosts: web
  tasks:
    - template: {src: random.j2, dest: /x}
    - debug: {msg: \"{{ lookup('template', 'random.j2') }}\"}
    - apt: {upgrade: foo}
    - lineinfile: {path: /x, line: a, regexp: '(a'}
    - wait_for: {path: /x, search_regex: 'a{2,1}'}
    - copy: {content: a, dest: /x, validate: check}
    - template: {src: site.yml, dest: /x, validate: check}
    - service: {name: nginx, use: openrc}
    - package: {name: nginx, use: dnf}
    - command: {cmd: ls, argv: [ls]}
    - command: ls
      args: {argv: [ls]}
    - lineinfile: {path: /x, line: a, regexp: a, search_string: b}
    - lineinfile: {path: /x, line: a, insertafter: a, insertbefore: b}
    - blockinfile: {path: /x, block: a, insertafter: a, insertbefore: b}
    - blockinfile: {path: /x, block: a, insertafter: '*'}
    - debug: {msg: a, var: b}
    - include_vars: {file: site.yml, dir: x}
    - pause: {seconds: 1, minutes: 1}
    - lineinfile: {path: /x, line: a, regexp: \"{{ inventory_hostname }}\"}
    - lineinfile: {path: /x, line: a, regexp: a, search_string: \"{{ omit }}\"}
    - apt: {upgrade: \"{{ inventory_hostname }}\"}
    - apt: {upgrade: no, update_cache: yes}
    - copy: {content: a, dest: /x, validate: \"{{ inventory_hostname }}\"}
",
    );
    std::fs::write(sandbox.path("envs/dev/random.j2"), [0xff, 0x00, 0xfe, 0x80]).unwrap();
    let found = said(&sandbox.run(&["validate", "dev"], 2));
    for (line, says) in [
        (3, "error: `src` of `template`: `"),
        (4, "is not UTF-8 text"),
        (5, "error: `upgrade` of `apt`: `foo` is not one of `dist`, `full`, `no`, `safe`, `yes`"),
        (6, "error: `regexp` of `lineinfile`: `(a` is not a regular expression"),
        (7, "error: `search_regex` of `wait_for`: `a{2,1}` is not a regular expression"),
        (8, "error: `validate` of `copy`: `validate` needs a `%s`"),
        (9, "error: `validate` of `template`: `validate` needs a `%s`"),
        (10, "error: `use` of `service`: `openrc` is not one of `auto`"),
        (11, "error: `use` of `package`: `dnf` is not one of `auto`"),
        (12, "of `command`: give either `cmd` or `argv`"),
        (13, "`command`: give either a text or `argv`"),
        (15, "of `lineinfile`: give either `regexp` or `search_string`"),
        (16, "of `lineinfile`: give either `insertafter` or `insertbefore`"),
        (17, "of `blockinfile`: give either `insertafter` or `insertbefore`"),
        (18, "error: `insertafter` of `blockinfile`: `*` is not a regular expression"),
        (19, "of `debug`: give either `msg` or `var`"),
        (20, "of `include_vars`: give either `file` or `dir`"),
        (21, "of `pause`: give either `minutes` or `seconds`"),
    ] {
        let place = format!("{line}:");
        let places = [place.clone(), format!("{}:", line + usize::from(line == 13))];
        let is = |found: &&String| places.iter().any(|place| found.starts_with(place.as_str())) && found.contains(says);
        assert!(found.iter().any(|found| is(&found)), "{line} {says}\n{found:#?}");
    }
    assert_eq!(found.len(), 18, "{found:#?}");
}

#[test]
fn validate_finds_connection_variables_that_cannot_work() {
    let sandbox = sandbox(
        "- hosts: web
  vars: {ansible_connection: winrm}
  vars_files: [more.yml, \"{{ inventory_hostname }}.yml\"]
  roles: [one]
  tasks:
    - ping:
      vars: {ansible_become_method: su, ansible_port: \"{{ inventory_hostname }}\"}
",
    );
    sandbox.write("envs/dev/config.yaml", &format!("{FILE}vars: {{ansible_ssh_port: ssh}}\n"));
    sandbox.write("envs/dev/more.yml", "ansible_port: 0\n");
    sandbox.write("envs/dev/group_vars/web.yml", "ansible_connection: docker\nansible_user: me\n");
    sandbox.write("envs/dev/host_vars/web-1.yml", "ansible_ssh_common_args: -v\n");
    sandbox.write("envs/dev/roles/one/tasks/main.yml", "- ping:\n");
    sandbox.write("envs/dev/roles/one/defaults/main/a.yml", "ansible_connection: local\nansible_port: -1\n");
    let printed = sandbox.run(&["validate", "dev", "--var", "ansible_become_method=doas"], 2);
    let of_command = "\nerror: `--var ansible_become_method`: `become_method: doas` is not supported\n";
    assert!(printed.err.contains(of_command), "{}", printed.err);
    let mut found: Vec<&str> = printed.err.lines().filter(|line| line.contains(": error: ")).collect();
    for line in &mut found {
        *line = line.split_once("envs/dev/").map_or(*line, |(_, rest)| rest);
    }
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "config.yaml:3:26: error: `ansible_ssh_port`: `ansible_ssh_port: ssh` is not the number of a port",
            "group_vars/web.yml:1:21: error: `ansible_connection`: `connection: docker` is not supported",
            "host_vars/web-1.yml:1:1: error: the variable `ansible_ssh_common_args` is not supported",
            "more.yml:1:15: error: `ansible_port`: `ansible_port: 0` is not the number of a port",
            "roles/one/defaults/main/a.yml:2:15: error: `ansible_port`: `ansible_port: -1` is not the number of a port",
            "site.yml:2:30: error: `ansible_connection`: `connection: winrm` is not supported",
            "site.yml:7:37: error: `ansible_become_method`: `become_method: su` is not supported",
        ],
        "{}",
        printed.err
    );
}

#[test]
fn one_mistake_does_not_hide_the_others() {
    let sandbox = sandbox(
        "- hosts: web
  vars: {found: \"{{ lookup('fil', 'x') }}\"}
  roles: [broken]
  tasks:
    - pnig:
      register: pinged
    - debug: {msg: \"{{ pinged }}\"}
    - copy: {src: missing.conf, dest: /etc/x}
    - copy: {src: site.yml, dest: /etc/x}
      notify: nothing
- hosts: wbe
  vars_files: [absent.yml]
  tasks:
    - debug: {msg: \"{{ of_the_file }}\"}
- hosts: web
  tasks:
    - block:
        - copy: {src: site.yml, dest: /etc/x}
      notify: restrat
    - debug: {msg: \"{{ undefined_one }}\"}
  handlers:
    - name: restart
      ping:
",
    );
    sandbox.write("envs/dev/config.yaml", &FILE.replace("[site.yml]", "[wrong.yml, site.yml]"));
    sandbox.write("envs/dev/wrong.yml", "- hosts: [web\n");
    sandbox.write("envs/dev/group_vars/web.yml", "one: \"{{ lookup('pipe', 'date') }}\"\n");
    sandbox.write("envs/dev/roles/broken/tasks/main.yml", "- ping: {\n");
    sandbox.write("envs/dev/roles/broken/defaults/main/a.yml", "two: \"{{ lookup('url', 'x') }}\"\n");
    let printed = sandbox.run(&["validate", "dev"], 2);
    let found: Vec<&str> = printed.err.lines().filter(|line| line.contains(": error: ")).collect();
    for says in [
        "wrong.yml:",
        "site.yml:2:17: error: there is no lookup `fil`",
        "site.yml:5:7: error: the module `pnig` is not supported",
        "site.yml:8:19: error: `src` of `copy`: there is no file `missing.conf`",
        "site.yml:11:10: error: the pattern `wbe`",
        "site.yml:12:16: error: there is no variables file `absent.yml`",
        "site.yml:19:15: error: there is no handler `restrat`",
        "site.yml:20:24: error: the variable `undefined_one` is not defined",
        "group_vars/web.yml:1:6: error: there is no lookup `pipe`",
        "defaults/main/a.yml:1:6: error: there is no lookup `url`",
        "tasks/main.yml:",
    ] {
        assert!(found.iter().any(|found| found.contains(says)), "{says}\n{}", found.join("\n"));
    }
    assert_eq!(found.len(), 11, "{}", found.join("\n"));
}

#[test]
fn validate_finds_variables_that_refer_to_each_other_in_a_circle() {
    let sandbox = sandbox(
        "- hosts: web
  vars: {one: \"{{ two }}\", mine: \"{{ kept }}\"}
  tasks:
    - set_fact: {kept: \"{{ mine | default(1) }}\"}
- hosts: web
  vars: {one: \"1\"}
  tasks: []
",
    );
    sandbox.write("envs/dev/config.yaml", &format!("{FILE}vars: {{two: \"{{{{ three }}}}\"}}\n"));
    sandbox.write("envs/dev/group_vars/web.yml", "three: [\"{{ one }}\"]\n");
    let printed = sandbox.run(&["validate", "dev"], 2);
    let says = "envs/dev/site.yml:2:15: error: the variable `one` refers to itself: `one` -> `two` \
                ($PROJECT/envs/dev/config.yaml:3:13) -> `three` ($PROJECT/envs/dev/group_vars/web.yml:1:8) -> `one`";
    assert!(printed.err.contains(says), "{}", printed.err);
    assert_eq!(printed.err.matches(": error: ").count(), 1, "{}", printed.err);
    drop(sandbox.run(&["validate", "dev", "--var", "three=3"], 0));
}

/// What machines and files say is no command of GitHub Actions; what the program itself says to it is.
#[test]
fn nothing_that_others_say_is_a_command_of_a_workflow() {
    let sandbox = sandbox("- hosts: \"web\\n  ::add-mask::e\\n##[add-mask]e\\n\"\n  tasks: []\n");
    let mut command = sandbox.command(&["validate", "dev"]);
    command.env("GITHUB_ACTIONS", "true");
    let printed = sandbox.finish(command, &["validate"], 2);
    let lines = || printed.err.lines().chain(printed.out.lines()).map(str::trim_start);
    let commands: Vec<&str> = lines().filter(|line| line.starts_with("::") || line.contains("##[")).collect();
    assert_eq!(commands.len(), 2, "{}\n{}", printed.out, printed.err);
    assert!(commands[0].starts_with("::error file=envs/dev/site.yml,line=1,col="), "{commands:?}");
    assert!(commands[1].starts_with("::warning file=envs/dev/site.yml,line=1,col="), "{commands:?}");
    assert!(printed.err.contains("\\u003a:add-mask::e\n#\\u0023[add-mask]e"), "{}", printed.err);
}

/// The mistakes and warnings of an environment file, each with its place and its hint, in the order of the lines.
fn mistakes(text: &str) -> Vec<String> {
    let playbook = "- hosts: localhost\n  tasks: []\n";
    let sandbox = Sandbox::new().file("envs/dev/config.yaml", text).file("envs/dev/packages.yml", playbook);
    let output = sandbox.command(&["validate", "dev"]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut found: Vec<(usize, String)> = Vec::new();
    for line in printed.lines() {
        if let Some((_, said)) =
            line.split_once("config.yaml:").filter(|_| line.contains(": error: ") || line.contains(": warning: "))
        {
            let number = said.split(':').next().unwrap().parse().unwrap();
            found.push((number, said.to_owned()));
        } else if let (Some(hint), Some((_, said))) = (line.strip_prefix("  = hint: "), found.last_mut()) {
            *said += &format!(" ({hint})");
        }
    }
    found.sort();
    found.into_iter().map(|(_, said)| said).collect()
}

#[test]
fn mistakes_of_the_command_line_are_shown_in_the_argument() {
    let sandbox = Sandbox::new().file("envs/dev/config.yaml", "provider: docker\npostgres:\n  main: {version: 15}\n");
    let said = |set: &str| sandbox.run(&["validate", "dev", "--set", set], 2).err;
    let cores = said("instances.app.resources.cores=lots");
    assert!(
        cores.contains("--set instances.app.resources.cores:1:31: error: `cores` must be a whole number"),
        "{cores}"
    );
    assert!(
        cores.contains(" 1 | instances.app.resources.cores=lots\n   |                               ^^^^"),
        "{cores}"
    );
    let version = said("postgres.main.version=13");
    assert!(version.contains("--set postgres.main.version:1:23: error: `debian-12` has packages"), "{version}");
    let users = said("postgres.main.users={postgres: }");
    assert!(users.contains("--set postgres.main.users:1:22: error: the login `postgres`"), "{users}");
    let settings = said("postgres.main.settings.shared_bufers=1GB");
    assert!(settings.contains("--set postgres.main.settings.shared_bufers:1:1: error: PostgreSQL 15"), "{settings}");
}

/// Each file of `tests/golden/validate` ends with what is said of it; `UPDATE=1` writes that again.
#[test]
fn validate_finds_what_is_wrong_with_environment_files() {
    let folder = repository().join("tests/golden/validate");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let (asked, expected): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| !line.starts_with("#> "));
        let asked = asked.join("\n") + "\n";
        let found: Vec<String> = mistakes(&asked).into_iter().map(|said| format!("#> {said}")).collect();
        #[expect(clippy::disallowed_methods, reason = "asks for the files to be written again")]
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, format!("{asked}{}\n", found.join("\n"))).unwrap();
        } else {
            assert_eq!(found, expected, "{}", file.display());
        }
    }
}
