//! The scripts that the built-in roles install, run for real on this machine.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Output, sync::Arc};

use infra::template::{Engine, Scope, Var};
use serde_json::json;

use crate::{
    e2e::Dev,
    support::{Sandbox, repository},
};

/// The variables of the role `postgresql` that its scripts use.
struct Variables {
    dumps: String,
}

impl Scope for Variables {
    fn get(&self, name: &str) -> Option<Var> {
        Some(Var::data(match name {
            "ansible_managed" => json!("Ansible managed"),
            "postgresql_dumps" | "postgresql_folder" => json!(self.dumps),
            _ => return None,
        }))
    }
}

/// A folder of dumps, and `postgresql-backup` beside a server that answers as a test says.
struct Backup {
    sandbox: Sandbox,
}

impl Backup {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let dumps = sandbox.path("the dumps").display().to_string();
        std::fs::create_dir(&dumps).unwrap();
        let path = repository().join("templates/postgresql/backup.sh.j2");
        let source = std::fs::read_to_string(&path).unwrap();
        let scope: Arc<dyn Scope> = Arc::new(Variables { dumps });
        let script = Engine::default().render_file(&path, &source, &scope).unwrap();
        let backup = Self { sandbox: sandbox.file("postgresql-backup", &script) };
        // The login of the server, as the script asks for it.
        backup.program("id", "echo postgres");
        backup
    }

    /// A program that is found before the machine's own.
    fn program(&self, name: &str, body: &str) {
        let name = format!("bin/{name}");
        self.sandbox.write(&name, &format!("#!/bin/sh\n{body}\n"));
        std::fs::set_permissions(self.sandbox.path(&name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.sandbox.path("bin").display());
        std::process::Command::new("bash")
            .arg(self.sandbox.path("postgresql-backup"))
            .args(arguments)
            .env("PATH", path)
            .output()
            .unwrap()
    }

    fn dumps(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.sandbox.path("the dumps")).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".lock")
            .collect();
        names.sort();
        names
    }

    /// A good dump of long ago.
    fn old_dump(&self) {
        self.sandbox.write("the dumps/old.sql.gz", "a dump");
        let touched = std::process::Command::new("touch")
            .args(["-d", "2 days ago"])
            .arg(self.sandbox.path("the dumps/old.sql.gz"))
            .status();
        assert!(touched.unwrap().success());
    }
}

const GOOD: &str = "printf '%s\\n' 'CREATE ROLE app;' '--' '-- PostgreSQL database cluster dump complete' '--'";

#[test]
fn old_dumps_are_removed_only_after_a_good_one() {
    let backup = Backup::new();
    for (why, body) in [
        ("the server is down", "echo 'connection refused' >&2; exit 1"),
        ("it goes down half-way", "echo 'CREATE ROLE app;'; exit 1"),
        ("the dump ends early without an error", "echo 'CREATE ROLE app;'"),
        ("it answers nothing", "exit 0"),
    ] {
        backup.program("pg_dumpall", body);
        backup.old_dump();
        let output = backup.run(&["--keep-minutes", "60"]);
        assert_eq!(output.status.code(), Some(1), "{why}");
        assert_eq!(backup.dumps(), ["old.sql.gz"], "{why}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("no dump was removed"), "{why}");
    }
    backup.program("pg_dumpall", GOOD);
    let output = backup.run(&["--keep-minutes", "60"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let dumps = backup.dumps();
    assert!(dumps.len() == 1 && dumps[0] != "old.sql.gz", "{dumps:?}");
    let mode = backup.sandbox.path(&format!("the dumps/{}", dumps[0])).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_dump_without_a_limit_removes_nothing() {
    let backup = Backup::new();
    backup.program("pg_dumpall", GOOD);
    backup.old_dump();
    assert!(backup.run(&[]).status.success());
    assert_eq!(backup.dumps().len(), 2);
    for wrong in [&["--keep-minutes"][..], &["--keep-minutes", "1h"], &["--keep", "1"]] {
        assert_eq!(backup.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(backup.dumps().len(), 2);
}

/// Who may write to a folder may replace every file in it, whoever these belong to. So no process of root may run anything that
/// lies below a folder of someone else.
#[test]
fn root_runs_nothing_that_an_application_can_replace() {
    let folder = repository().join("playbooks/roles/app");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let tasks = read(&folder.join("tasks/main.yml"));
    let of = |path: &str| {
        let at = tasks.find(path).unwrap_or_else(|| panic!("no task writes {path}"));
        tasks[at..].split("\n\n").next().unwrap().to_owned()
    };
    for path in [
        "path: \"{{ app_folder }}\"",
        "dest: \"{{ app_folder }}/{{ app_name }}\"",
        "dest: \"{{ app_folder }}/watchdog\"",
    ] {
        let task = of(path);
        assert!(task.contains("owner: root") && task.contains("mode: \"0755\""), "{task}");
    }
    let watchdog = read(&repository().join("templates/app/watchdog.service.j2"));
    assert!(watchdog.contains("ExecStart={{ app_folder }}/watchdog"), "{watchdog}");
}

const DATABASE: &str = "
postgres:
  main:
    resources: {memory: 512M, secondary_disk_size: 1}
    settings: {log_line_prefix: \"it's \\\\ %m \"}
    users: {app: }
    databases: {app: {owner: app}}
    backup: {schedule: '0 3 * * *', keep: 7d}
playbooks: [site.yml]
";

/// The data of a database is on its disk: the machine may go, and a dump may come back.
#[test]
fn e2e_a_database_outlives_its_machine_and_is_restored_from_a_dump() {
    let dev = Dev::with_file("database", DATABASE);
    dev.apply().silent();
    let sql = |statement: &str| {
        dev.ssh("postgres-main", &format!("sudo -u postgres psql -X -q -tA -d app -c \"{statement}\""))
            .trim()
            .to_owned()
    };
    assert_eq!(sql("show data_directory"), "/mnt/postgres-main-data/postgresql/15/main");
    assert_eq!(sql("show log_line_prefix"), "it's \\ %m");
    sql("create table t as select generate_series(1, 1000) n; alter table t owner to app");
    let dump = dev.ssh("postgres-main", "sudo postgresql-backup");
    assert!(dump.contains("/mnt/postgres-main-data/backups/"), "{dump}");

    let replaced = dev.run(&["apply", "--yes", "--replace", "vm.postgres-main"], 0);
    assert!(replaced.err.contains("1 created"), "{}", replaced.err);
    assert_eq!(sql("select count(*) from t"), "1000");

    sql("delete from t; create table later()");
    // A dump that cannot be read whole changes nothing.
    let broken =
        "(echo 'select 1/0;'; echo '-- PostgreSQL database cluster dump complete') | sudo postgresql-restore -";
    dev.run(&["ssh", "postgres-main", "--", broken], 1).silent();
    assert_eq!(sql("select count(*) from t"), "0");
    assert_eq!(sql("select to_regclass('later')"), "later");

    dev.ssh("postgres-main", "sudo postgresql-restore latest");
    assert_eq!(sql("select count(*) from t"), "1000");
    assert_eq!(sql("select tableowner from pg_tables where tablename = 't'"), "app");
    assert_eq!(sql("select to_regclass('later') is null"), "t");
    let again = dev.apply();
    assert!(again.err.contains("resources: 0 created, 0 changed, 0 destroyed"), "{}", again.err);
}

/// Logins that the file had once lose the right to log in, databases are only named; what infra has never created is not looked at.
#[test]
fn removed_logins_may_not_log_in_any_more() {
    let backup = Backup::new();
    let path = repository().join("templates/postgresql/removed.sh.j2");
    let scope: Arc<dyn Scope> = Arc::new(Variables { dumps: backup.sandbox.path("the dumps").display().to_string() });
    let source = std::fs::read_to_string(&path).unwrap();
    let script = Engine::default().render_file(&path, &source, &scope).unwrap();
    backup.sandbox.write("postgresql-backup", &script);
    let asked = backup.sandbox.path("asked").display().to_string();
    backup.program("psql", &format!("printf '%s ' \"$@\" >>'{asked}'; cat >>'{asked}'; echo 1"));
    let apply = |wanted: &str| {
        backup.sandbox.write("the dumps/infra.wanted", wanted);
        let output = backup.run(&[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let asked = std::fs::read_to_string(&asked).unwrap_or_default();
        let _ = std::fs::remove_file(backup.sandbox.path("asked"));
        (String::from_utf8(output.stdout).unwrap(), asked)
    };
    // What an earlier version has created is only written down.
    assert_eq!(apply("login app\nlogin it's me\ndatabase app\n"), (String::new(), String::new()));
    let (said, asked) = apply("login app\n");
    assert!(said.contains("the login `it's me` is not in the environment file any more"), "{said}");
    assert!(said.contains("the database `app` is not in the environment file any more and stays"), "{said}");
    assert!(
        asked.contains("-v name=it's me")
            && asked.contains("NOLOGIN")
            && !asked.contains("name=app -d postgres SELECT format")
    );
    // It is said once.
    assert_eq!(apply("login app\n"), (String::new(), String::new()));
    let (said, _) = apply("");
    assert!(said.contains("the login `app`"), "{said}");
}
