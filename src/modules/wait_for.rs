//! `wait_for`: a port answers, a file exists, or a text stands in it.

use serde::Deserialize;

use super::{Arguments, Decision, List, Module, Operation, Outcome, Step, Text, conclude};
use crate::{
    error::{Error, Result},
    remote::{Output, quote},
};

pub(super) struct WaitFor;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitArguments {
    host: Option<Text>,
    port: Option<u16>,
    path: Option<Text>,
    search_regex: Option<Text>,
    #[serde(default)]
    state: Wanted,
    timeout: Option<u64>,
    delay: Option<u64>,
    sleep: Option<u64>,
    connect_timeout: Option<u64>,
    msg: Option<Text>,
    active_connection_states: Option<List>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    #[default]
    Started,
    Present,
    Stopped,
    Absent,
    Drained,
}

impl Module for WaitFor {
    fn name(&self) -> &'static str {
        "wait_for"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &[
            "host",
            "port",
            "path",
            "search_regex",
            "state",
            "timeout",
            "delay",
            "sleep",
            "connect_timeout",
            "msg",
            "active_connection_states",
        ]
    }

    fn prepare(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: WaitArguments = super::read(task.named)?;
        if arguments.port.is_some() && arguments.path.is_some() {
            return Err(Error::usage("give either `port` or `path`"));
        }
        if arguments.state == Wanted::Drained {
            return Err(Error::usage("`state: drained` is not supported"));
        }
        let _ = (&arguments.connect_timeout, &arguments.active_connection_states);
        Ok(Box::new(Wait { arguments }))
    }
}

struct Wait {
    arguments: WaitArguments,
}

impl Wait {
    /// A test that succeeds when what is waited for is so.
    fn test(&self) -> Option<String> {
        let arguments = &self.arguments;
        let gone = matches!(arguments.state, Wanted::Stopped | Wanted::Absent);
        let not = if gone { "! " } else { "" };
        if let Some(port) = arguments.port {
            let host = arguments.host.as_ref().map_or("127.0.0.1", Text::as_str);
            return Some(format!("{not}{}", port_test(host, port)));
        }
        let path = quote(arguments.path.as_ref()?.as_str());
        Some(match &arguments.search_regex {
            Some(regex) if !gone => format!("grep -qE -- {} {path} 2>/dev/null", quote(regex.as_str())),
            _ => format!("{not}[ -e {path} ]"),
        })
    }
}

/// Whether something listens on a port. A local one is looked up in the kernel's table; to reach another host needs bash,
/// which every Debian has.
fn port_test(host: &str, port: u16) -> String {
    if matches!(host, "127.0.0.1" | "localhost" | "0.0.0.0" | "::1") {
        format!(
            "grep -qiE '^ *[0-9]+: [0-9A-F]+:{port:04X} [0-9A-F]+:0000 0A ' /proc/net/tcp /proc/net/tcp6 2>/dev/null"
        )
    } else {
        format!("timeout 5 bash -c {} 2>/dev/null", quote(&format!("exec 3<>/dev/tcp/{host}/{port}")))
    }
}

impl Operation for Wait {
    fn probe(&self) -> Option<String> {
        let test = self.test()?;
        let delay = self.arguments.delay.unwrap_or(0);
        (delay == 0).then(|| format!("if {test}; then echo now; else echo wait; fi"))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let arguments = &self.arguments;
        if seen.out().trim() == "now" {
            return Ok(Decision::default());
        }
        let timeout = arguments.timeout.unwrap_or(300);
        let delay = arguments.delay.unwrap_or(0);
        let Some(test) = self.test() else {
            return Ok(Decision { steps: vec![Step::Run(format!("sleep {timeout}"))], ..Decision::default() });
        };
        let what = match (&arguments.port, &arguments.path) {
            (Some(port), _) => format!("{}:{port}", arguments.host.as_ref().map_or("127.0.0.1", Text::as_str)),
            (None, path) => path.as_ref().map(|path| path.0.clone()).unwrap_or_default(),
        };
        let message =
            arguments.msg.as_ref().map_or_else(|| format!("Timeout when waiting for {what}"), |text| text.0.clone());
        let sleep = arguments.sleep.unwrap_or(1);
        let script = format!(
            "sleep {delay}; end=$(( $(date +%s) + {timeout} )); until {test}; do \
             if [ $(date +%s) -ge $end ]; then echo {} >&2; exit 1; fi; sleep {}; done",
            quote(&message),
            if sleep <= 1 { "0.2".to_owned() } else { sleep.to_string() }
        );
        Ok(Decision { steps: vec![Step::Run(script)], ..Decision::default() })
    }

    fn conclude(&self, decision: Decision, outputs: &[Output]) -> Outcome {
        conclude(decision, outputs)
    }

    fn may_prefetch(&self) -> bool {
        false
    }
}
