//! `wait_for`: a port answers, a file exists, or a text stands in it.

use serde::Deserialize;

use super::{
    Argument, Arguments, Call, Decision, Declared, Exclusive, Module, Number, Operation, Step, Text,
    arguments::Pattern,
    declaration::{arguments, choices},
    probe::{Probe, Test},
    script::{Sh, sh},
};
use crate::{
    error::{Error, Result},
    remote::Output,
};

pub(super) struct WaitFor;

arguments! {
    struct WaitArguments {
        host: Option<Text>,
        port: Option<Number<u16>>,
        path: Option<Text>,
        /// What must be in the file, or be said at the port.
        search_regex: Option<Pattern>,
        #[serde(default)]
        state: Wanted,
        /// The seconds after which it fails; 300 where nothing is said.
        timeout: Option<Number<u64>>,
        /// How many seconds to wait before the first look.
        delay: Option<Number<u64>>,
        /// The seconds between two looks.
        sleep: Option<Number<u64>>,
        /// The seconds that one connection may take.
        connect_timeout: Option<Number<u64>>,
        /// What it fails with.
        msg: Option<Text>,
    }
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

choices!(default Wanted);

impl Call for WaitFor {
    fn name(&self) -> &'static str {
        "wait_for"
    }

    fn about(&self) -> &'static str {
        "Waits until a port answers, a file exists, or a text is in it."
    }

    fn arguments(&self) -> &'static [Argument] {
        WaitArguments::ARGUMENTS
    }

    fn exclusive(&self) -> &'static [Exclusive] {
        &[&[&["port"], &["path"]]]
    }
}

impl Module for WaitFor {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: WaitArguments = super::read(task.named)?;
        if arguments.state == Wanted::Drained {
            return Err(Error::usage("`state: drained` is not supported"));
        }
        Ok(Box::new(Wait { arguments }))
    }
}

struct Wait {
    arguments: WaitArguments,
}

impl Wait {
    /// A test that succeeds when what is waited for is so.
    fn test(&self) -> Option<Test> {
        let arguments = &self.arguments;
        let gone = matches!(arguments.state, Wanted::Stopped | Wanted::Absent);
        let regex = arguments.search_regex.as_ref().map(Pattern::as_str).filter(|_| !gone);
        let test = if let Some(port) = arguments.port {
            let host = arguments.host.as_ref().map_or("127.0.0.1", Text::as_str);
            let seconds = seconds(arguments.connect_timeout, 5);
            match regex {
                Some(regex) => Test::says(host, port.0, seconds, regex),
                None if matches!(host, "127.0.0.1" | "localhost" | "0.0.0.0" | "::1") => Test::listens(port.0),
                None => Test::answers(host, port.0, seconds),
            }
        } else {
            let path = arguments.path.as_ref()?.as_str();
            match regex {
                Some(regex) => Test::matches(path, regex),
                None => Test::exists(path),
            }
        };
        Some(if gone { test.not() } else { test })
    }
}

fn seconds(given: Option<Number<u64>>, usual: u64) -> u64 {
    given.map_or(usual, |seconds| seconds.0)
}

impl Operation for Wait {
    fn probe(&self) -> Option<Probe> {
        let test = self.test()?;
        (seconds(self.arguments.delay, 0) == 0).then(|| Probe::test(&test))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let arguments = &self.arguments;
        if seen.out().trim() == "now" {
            return Ok(Decision::default());
        }
        let timeout = seconds(arguments.timeout, 300);
        let Some(test) = self.test() else {
            return Ok(Decision { steps: vec![Step::Run(sh!("sleep {0}", timeout))], ..Decision::default() });
        };
        let what = match (&arguments.port, &arguments.path) {
            (Some(port), _) => format!("{}:{}", arguments.host.as_ref().map_or("127.0.0.1", Text::as_str), port.0),
            (None, path) => path.as_ref().map(|path| path.0.clone()).unwrap_or_default(),
        };
        let message =
            arguments.msg.as_ref().map_or_else(|| format!("Timeout when waiting for {what}"), |text| text.0.clone());
        let pause = match seconds(arguments.sleep, 1) {
            0 | 1 => sh!("sleep 0.2"),
            more => sh!("sleep {0}", more),
        };
        let delay = match seconds(arguments.delay, 0) {
            0 => Sh::default(),
            delay => sh!("sleep {0}; ", delay),
        };
        let script = sh!(
            "{0}end=$(( $(date +%s) + {1} )); until {2}; do \
             if [ $(date +%s) -ge $end ]; then printf '%s\\n' {3} >&2; exit 1; fi; {4}; done",
            delay,
            timeout,
            test.script().clone(),
            message,
            pause
        );
        Ok(Decision { steps: vec![Step::Run(script)], ..Decision::default() })
    }

    fn may_prefetch(&self) -> bool {
        false
    }
}
