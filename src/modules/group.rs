//! `group`: a group exists, or does not.

use serde::Deserialize;

use super::{Arguments, Decision, Flag, Module, Operation, Text, edit::Presence, entry};
use crate::{
    error::Result,
    remote::{Output, quote},
};

pub(super) struct Group;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupArguments {
    name: Text,
    gid: Option<u32>,
    #[serde(default)]
    state: Presence,
    #[serde(default)]
    system: Flag,
}

impl Module for Group {
    fn name(&self) -> &'static str {
        "group"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &["name", "gid", "state", "system"]
    }

    fn prepare(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: GroupArguments = super::read(task.named)?;
        Ok(Box::new(GroupOperation {
            name: arguments.name.0,
            gid: arguments.gid,
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
    fn probe(&self) -> Option<String> {
        Some(format!("getent group {} || :", quote(&self.name)))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let out = seen.out();
        let present = out.trim().split(':').nth(2).and_then(|gid| gid.parse::<u32>().ok());
        let name = quote(&self.name);
        let script = match (self.state, present) {
            (Presence::Present, None) => {
                let gid = self.gid.map_or_else(String::new, |gid| format!(" --gid {gid}"));
                let system = if self.system { " --system" } else { "" };
                Some(format!("groupadd{system}{gid} {name}"))
            }
            (Presence::Present, Some(gid)) if self.gid.is_some_and(|wanted| wanted != gid) => {
                Some(format!("groupmod --gid {} {name}", self.gid.unwrap_or_default()))
            }
            (Presence::Absent, Some(_)) => Some(format!("groupdel {name}")),
            _ => None,
        };
        let mut result = entry("name", self.name.as_str());
        if let Some(gid) = self.gid.or(present) {
            result.insert("gid".to_owned(), gid.into());
        }
        Ok(script.map_or_else(|| Decision::unchanged(result.clone()), |script| Decision::run([script], result.clone())))
    }
}
