//! `group`: a group exists, or does not.

use super::{
    Argument, Arguments, Call, Decision, Declared, Flag, Module, Number, Operation, Text,
    declaration::arguments,
    edit::Presence,
    entry,
    probe::Probe,
    script::{Sh, sh},
};
use crate::{error::Result, remote::Output};

pub(super) struct Group;

arguments! {
    struct GroupArguments {
        name: Text,
        gid: Option<Number<u32>>,
        #[serde(default)]
        state: Presence,
        /// Whether its number is one of those of the system.
        #[serde(default)]
        system: Flag,
    }
}

impl Call for Group {
    fn name(&self) -> &'static str {
        "group"
    }

    fn about(&self) -> &'static str {
        "Creates, changes or removes a group."
    }

    fn arguments(&self) -> &'static [Argument] {
        GroupArguments::ARGUMENTS
    }
}

impl Module for Group {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: GroupArguments = super::read(task.named)?;
        Ok(Box::new(GroupOperation {
            name: arguments.name.0,
            gid: arguments.gid.map(|gid| gid.0),
            state: arguments.state,
            system: arguments.system.0,
        }))
    }
}

struct GroupOperation {
    name: String,
    gid: Option<u32>,
    state: Presence,
    system: bool,
}

impl Operation for GroupOperation {
    fn probe(&self) -> Option<Probe> {
        Some(Probe::entry("group", &self.name))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let out = seen.out();
        let present = out.trim().split(':').nth(2).and_then(|gid| gid.parse::<u32>().ok());
        let script = match (self.state, present) {
            (Presence::Present, None) => {
                let gid = self.gid.map_or_else(Sh::default, |gid| sh!(" --gid {0}", gid));
                let system = if self.system { sh!(" --system") } else { Sh::default() };
                Some(sh!("groupadd{0}{1} -- {2}", system, gid, self.name))
            }
            (Presence::Present, Some(gid)) if self.gid.is_some_and(|wanted| wanted != gid) => {
                Some(sh!("groupmod --gid {0} -- {1}", self.gid.unwrap_or_default(), self.name))
            }
            (Presence::Absent, Some(_)) => Some(sh!("groupdel -- {0}", self.name)),
            _ => None,
        };
        let mut result = entry("name", self.name.as_str());
        result.insert("state".to_owned(), if self.state == Presence::Present { "present" } else { "absent" }.into());
        result.insert("system".to_owned(), self.system.into());
        if let Some(gid) = self.gid.or(present) {
            result.insert("gid".to_owned(), gid.into());
        }
        Ok(script.map_or_else(|| Decision::unchanged(result.clone()), |script| Decision::run([script], result.clone())))
    }
}
