//! Which process holds something, so that others on the same machine see at once that it is gone.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A process, told apart from all others: of other machines, of other containers, and of those that get its number later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// When it was started, in clock ticks since the machine was.
    started: u64,
    /// Which start of which machine.
    boot: String,
    /// The namespace of its number.
    namespace: String,
}

impl Process {
    /// This one.
    pub(super) fn current() -> Self {
        let id = std::process::id();
        let (boot, namespace) = here();
        Self { id, started: started(id).unwrap_or_default(), boot, namespace }
    }

    /// Whether it certainly runs no more. A process elsewhere, or one that this user may not see, is never certain.
    pub(super) fn is_gone(&self) -> bool {
        let (boot, namespace) = here();
        let comparable = !boot.is_empty() && self.boot == boot && self.namespace == namespace;
        comparable && (has_exited(self.id) || self.has_ended(started(self.id), || exists(self.id)))
    }

    /// What follows from the start time that `/proc` shows for its number. Where `/proc` is mounted with `hidepid`, it shows
    /// nothing of other users' processes: then the kernel is asked whether there is one of that number at all.
    fn has_ended(&self, started: Option<u64>, exists: impl FnOnce() -> bool) -> bool {
        started.map_or_else(|| !exists(), |started| started != self.started)
    }
}

/// Whether there is a process of this number, whoever owns it: signal 0 is refused for another user's process, and finds
/// nothing when there is none.
fn exists(id: u32) -> bool {
    let pid = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_none_or(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

fn here() -> (String, String) {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    (boot.trim().to_owned(), namespace.display().to_string())
}

/// Whether there is nothing left of it but its number: a zombie, whose parent has not asked how it ended. The first process of
/// many containers never does.
fn has_exited(id: u32) -> bool {
    matches!(stat(id, 0).as_deref(), Some("Z" | "X"))
}

/// When a process was started.
fn started(id: u32) -> Option<u64> {
    stat(id, 19)?.parse().ok()
}

/// A field of `/proc/<id>/stat`, counted behind the name in parentheses (proc(5)).
fn stat(id: u32, field: usize) -> Option<String> {
    let text = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(field).map(str::to_owned)
}

/// `user@machine`, as far as the machine says.
#[must_use]
pub fn whoami() -> String {
    #[expect(clippy::disallowed_methods, reason = "the login's name is in the environment")]
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or("unknown".to_owned());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{}", machine.trim())
}

#[cfg(test)]
mod tests {
    use super::Process;

    #[test]
    fn a_process_is_gone_when_another_one_has_its_number() {
        let own = Process::current();
        assert!(!own.is_gone());
        assert!(Process { started: own.started + 1, ..own.clone() }.is_gone());
        assert!(!Process { started: 1, boot: "another machine".into(), ..own.clone() }.is_gone());
        assert!(!Process { started: 1, namespace: "another container".into(), ..own }.is_gone());
    }

    #[test]
    fn a_process_that_nobody_has_reaped_is_gone() {
        #[expect(clippy::disallowed_types, reason = "this test needs a process that ends")]
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let (own, deadline) = (Process::current(), std::time::Instant::now() + std::time::Duration::from_secs(10));
        let child_process = Process { id: child.id(), started: super::started(child.id()).unwrap(), ..own };
        while !child_process.is_gone() {
            assert!(std::time::Instant::now() < deadline, "it is a zombie");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(child_process.is_gone());
    }

    #[test]
    fn a_process_that_proc_hides_is_not_gone() {
        let own = Process::current();
        assert!(!own.has_ended(None, || true), "`hidepid` shows nothing, and it runs");
        assert!(own.has_ended(None, || false));
        assert!(super::exists(own.id) && super::exists(1));
        // No machine gives out numbers this high.
        assert!(!super::exists(i32::MAX.cast_unsigned()));
    }
}
