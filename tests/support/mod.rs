//! A project in a temporary folder, and the real program run in it.

pub(crate) mod aws_model;
pub(crate) mod bucket;
pub(crate) mod commands;
pub(crate) mod containers;
pub(crate) mod engine;
pub(crate) mod moto;
pub(crate) mod stub_engine;
pub(crate) mod yandex;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A project of its own.
pub(crate) struct Sandbox {
    pub(crate) folder: tempfile::TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the project.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The program with these arguments, ready to be run in the project.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_infra"));
        command.args(arguments).current_dir(self.folder.path()).env("NO_COLOR", "1");
        command.env("BINGO_BINARY", bingo());
        // A pipeline makes no keys for states that outlive it, and these tests run in one too.
        command.env_remove("CI").env_remove("GITHUB_ACTIONS");
        command
    }

    /// Runs the program and requires an exit code; the output is what it printed on both streams, without the folder.
    #[must_use = "look at what was printed"]
    pub(crate) fn run(&self, arguments: &[&str], code: i32) -> Printed {
        let mut command = self.command(arguments);
        command.stdin(std::process::Stdio::null());
        self.finish(command, arguments, code)
    }

    /// Runs a command that is ready and requires an exit code.
    #[must_use = "look at what was printed"]
    pub(crate) fn finish(&self, mut command: Command, arguments: &[&str], code: i32) -> Printed {
        let output = command.output().unwrap();
        let printed = Printed::new(&output, self.folder.path());
        assert_eq!(output.status.code(), Some(code), "infra {arguments:?}\n{}\n{}", printed.out, printed.err);
        printed
    }
}

/// What a command printed.
pub(crate) struct Printed {
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Printed {
    /// For commands whose output says nothing that the test needs.
    pub(crate) fn silent(self) {}

    fn new(output: &Output, folder: &Path) -> Self {
        let clean = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&folder.display().to_string(), "$PROJECT");
        Self { out: clean(&output.stdout), err: clean(&output.stderr) }
    }
}

/// The demo application that `make build` has put there.
pub(crate) fn bingo() -> PathBuf {
    repository().join("target/bingo")
}
