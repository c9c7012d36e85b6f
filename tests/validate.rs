//! What `infra validate`, `apply` and `run` find in playbooks before any host is touched.

use crate::support::{Printed, Sandbox};

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
            "12:19: warning: `src` of `copy`: there is no file `maybe.conf`",
            "4:14: error: `src` of `copy`: there is no file `missing.conf`",
            "6:24: error: `src` of `unarchive`: there is no file `missing.tgz`",
            "7:45: error: there is no file `none.txt`",
            "8:44: error: there is no template `none.j2`",
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
            "3:10: warning: the pattern `x*` of the play `x*` matches no host and no group",
            "5:10: warning: the play `web:&app` matches no machine of this environment",
            "1:10: error: the pattern `wbe` of the play `wbe` matches no host and no group",
        ]
    );
    assert!(printed.err.contains("did you mean `web`?"), "{}", printed.err);

    // Another environment has such a group: the playbook is for both.
    sandbox.write("envs/prod/config.yaml", "instances: {a: {ansible_groups: [wbe]}}\n");
    let printed = sandbox.run(&["validate", "dev"], 0);
    assert!(printed.err.contains("1:10: warning: the pattern `wbe`"), "{}", printed.err);
}
