//! What tasks do in a play, on this machine: layouts of templates, check mode, SQL, and the keys of results.

use std::os::unix::fs::PermissionsExt as _;

use infra::playbook::Options;

use crate::trips::{execs, execs_with};

#[tokio::test]
async fn templates_follow_the_layout_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("templates")).unwrap();
    let text = "a\n  {% if true %}\nb\n  {% endif %}\nc\n";
    std::fs::write(folder.path().join("templates/t.j2"), text).unwrap();
    let playbook = "
- hosts: all
  gather_facts: false
  tasks:
    - template: {src: t.j2, dest: $DIR/usual}
    - template: {src: t.j2, dest: $DIR/kept, trim_blocks: false}
    - template: {src: t.j2, dest: $DIR/stripped, lstrip_blocks: true}
    - template: {src: t.j2, dest: $DIR/crlf, newline_sequence: \"\\r\\n\", output_encoding: utf-8}
    - template: {src: t.j2, dest: $DIR/mode, mode: preserve}
    - template: {src: t.j2, dest: $DIR/latin, output_encoding: latin-1}
      register: latin
      ignore_errors: true
    - assert: {that: [latin is failed, \"'not supported' in latin.msg\"]}
";
    execs(playbook, folder.path()).await;
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    // What Ansible makes of this template.
    assert_eq!(read("usual"), "a\n  b\n  c\n");
    assert_eq!(read("kept"), "a\n  \nb\n  \nc\n");
    assert_eq!(read("stripped"), "a\nb\nc\n");
    assert_eq!(read("crlf"), "a\r\n  b\r\n  c\r\n");
}

#[tokio::test]
async fn check_mode_knows_commands_that_say_when_they_change_something() {
    let folder = tempfile::tempdir().unwrap();
    let playbook = "
- hosts: all
  gather_facts: false
  tasks:
    - command: touch $DIR/made
      args: {creates: $DIR/made}
      register: creates
    - assert: {that: [creates is changed, creates is not skipped, creates.rc == 0, creates.stdout == '']}
    - command: touch $DIR/made
      register: plain
    - assert: {that: [plain is not changed, plain is skipped, plain.rc == 0, \"'check mode' in plain.msg\"]}
    - copy: {content: x, dest: $DIR/made}
      register: copied
    - assert: {that: copied is changed}
";
    let (_, recap) = execs_with(playbook, folder.path(), Options { check: true, ..Options::default() }).await;
    assert_eq!((recap.hosts["here"].changed, recap.hosts["here"].skipped), (2, 1));
    assert!(!folder.path().join("made").exists());
}

#[tokio::test]
async fn results_have_the_keys_that_roles_look_at() {
    let folder = tempfile::tempdir().unwrap();
    let playbook = "
- hosts: all
  gather_facts: false
  tasks:
    - command: echo hi
      register: r
    - assert: {that: [r.start is defined, r.end is defined, \"r.delta is match('0:00:')\", r.msg == '', r.stdout == 'hi']}
    - copy: {content: hi, dest: $DIR/f, mode: '0600'}
      register: r
    - assert: {that: [r.mode == '0600', r.owner is defined, r.group is defined, r.size == 2, r.state == 'file', r.checksum is defined]}
    - file: {path: $DIR/f, mode: '0640'}
      register: r
    - assert: {that: [r.mode == '0640', r.state == 'file', r is changed]}
    - lineinfile: {path: $DIR/f, line: there}
      register: r
    - assert: {that: [r.mode == '0640', r is changed]}
    - command: echo hi
      environment: {'A; touch $DIR/pwned; B': x}
      register: r
      ignore_errors: true
    - assert: {that: [r is failed, \"'not the name of a variable' in r.msg\"]}
";
    execs(playbook, folder.path()).await;
    assert!(!folder.path().join("pwned").exists());
}

/// A file that is too large for a script has a channel of its own, and what comes before and after it keeps its order.
#[tokio::test]
async fn large_files_keep_the_order_of_tasks() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("files")).unwrap();
    std::fs::write(folder.path().join("files/large"), "line\n".repeat(20_000)).unwrap();
    let playbook = "
- hosts: all
  gather_facts: false
  tasks:
    - copy: {src: large, dest: $DIR/f, mode: '0600'}
      register: first
    - stat: {path: $DIR/f}
      register: f
    - assert: {that: [first is changed, f.stat.size == 100000, f.stat.mode == '0600']}
    - copy: {src: large, dest: $DIR/f}
      register: second
    - assert: {that: second is not changed}
";
    execs_with(playbook, folder.path(), Options { diff: true, ..Options::default() }).await;
}

/// A `psql` that writes down what it is asked, and refuses to change something in a read-only transaction.
const PSQL: &str = r#"#!/bin/sh
sql=$(cat)
printf '%s\n' "$sql" | tr '\n' ' ' >>"$(dirname "$0")/log"
echo >>"$(dirname "$0")/log"
case $sql in
  *'READ ONLY'*'INTO t'*) echo 'psql:<stdin>:2: ERROR:  25006: cannot execute SELECT INTO in a read-only transaction' >&2; exit 3 ;;
esac
printf 'n\n1\n'
"#;

#[tokio::test]
async fn a_query_that_may_change_something_runs_once_and_in_its_turn() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("psql"), PSQL).unwrap();
    std::fs::set_permissions(folder.path().join("psql"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let playbook = "
- hosts: all
  gather_facts: false
  environment: {PATH: '$DIR:/usr/bin:/bin'}
  tasks:
    - copy: {content: '{{ item }}', dest: '$DIR/f{{ item }}'}
      loop: [1, 2, 3]
    - postgresql_query: {query: SELECT pay_invoice(42)}
      register: paid
    - postgresql_query: {query: SELECT count(*) AS n FROM t}
      register: counted
    - postgresql_query: {query: SELECT a INTO t FROM s}
      register: into
    - assert: {that: [paid is not changed, \"counted.query_result[0].n == 1\", into is not changed]}
      when: not ansible_check_mode
";
    let log = || {
        let text = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        std::fs::write(folder.path().join("log"), "").unwrap();
        text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>()
    };
    execs_with(playbook, folder.path(), Options { check: true, ..Options::default() }).await;
    let read_only = [
        "BEGIN TRANSACTION READ ONLY; SELECT count(*) AS n FROM t; COMMIT;",
        "BEGIN TRANSACTION READ ONLY; SELECT a INTO t FROM s; COMMIT;",
    ];
    assert_eq!(log(), read_only);
    execs(playbook, folder.path()).await;
    let paid = "BEGIN; SELECT pay_invoice(42); COMMIT;";
    assert_eq!(log(), [paid, read_only[0], read_only[1], "BEGIN; SELECT a INTO t FROM s; COMMIT;"]);
}

#[tokio::test]
async fn backups_of_one_second_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let playbook = "
- hosts: all
  gather_facts: false
  tasks:
    - copy: {content: \"{{ item }}\", dest: $DIR/f, backup: true}
      loop: [one, two, three, four]
";
    execs(playbook, folder.path()).await;
    let mut kept: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.display().to_string().ends_with('~'))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    kept.sort();
    assert_eq!(kept, ["one", "three", "two"]);
}

#[tokio::test]
async fn a_throttle_that_says_nothing_fails_its_task() {
    let folder = tempfile::tempdir().unwrap();
    let playbook = "
- hosts: all
  gather_facts: false
  vars: {most: few}
  tasks:
    - command: touch $DIR/made
      throttle: \"{{ most }}\"
      register: r
      ignore_errors: true
    - assert: {that: [r is failed, \"'is not a number of hosts' in r.msg\"]}
    - command: touch $DIR/made
      throttle: \"{{ nothing }}\"
      register: r
      ignore_errors: true
    - assert: {that: r is failed}
";
    execs(playbook, folder.path()).await;
    assert!(!folder.path().join("made").exists());
}
