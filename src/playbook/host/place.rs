//! Where a task runs and as whom: what its keywords say, and the connection variables, which come before them.

use serde_json::Value;

use super::HostRun;
use crate::{
    error::{Error, Result},
    playbook::{
        connection::{self, Place, Reach},
        model::Task,
        vars::TaskScope,
    },
    template::{Authored, Scope, is_true, text_of},
};

impl HostRun<'_> {
    /// Where a task runs: another host when it is delegated, another user when it becomes one. Variables such as
    /// `ansible_become` come before keywords; those of a delegated task are the delegate's, as in Ansible.
    pub(super) fn place(&self, task: &Task, scope: &TaskScope) -> Result<Place> {
        let host = self.delegate(task, scope)?.unwrap_or_else(|| self.host.clone());
        let there = TaskScope { host: host.clone(), ..scope.clone() };
        for (name, instead) in connection::refused() {
            if there.get(name).is_some() {
                return Err(Error::usage(format!("the variable `{name}` is not supported")).hint(instead));
            }
        }
        let variable = |names: [&str; 2]| -> Result<Option<Value>> {
            let Some(name) = names.into_iter().find(|name| there.get(name).is_some()) else { return Ok(None) };
            Ok(self.engine().variable(name, &there.shared())?.filter(|value| !value.is_null()))
        };
        let keyword = |value: &Option<Authored>| {
            value.as_ref().map(|value| self.engine().resolve(value, &scope.shared())).transpose()
        };
        let common = &task.common;
        // What is omitted is not said.
        let named = |names: [&str; 2], word: &Option<Authored>| -> Result<Option<Value>> {
            match variable(names)? {
                Some(value) => Ok(Some(value)),
                None => Ok(keyword(word)?.filter(|value| !value.is_null())),
            }
        };
        let way = named(["ansible_connection", ""], &common.connection)?.map(|way| text_of(&way));
        let local = match way {
            Some(way) => connection::is_local(&way)?,
            None => host == "localhost",
        };
        if let Some(method) = variable(["ansible_become_method", ""])? {
            connection::check_become_method(&text_of(&method))?;
        }
        let user = match named(["ansible_become", ""], &common.r#become)? {
            Some(value) if is_true(&value) => {
                let user = named(["ansible_become_user", ""], &common.become_user)?;
                Some(user.map(|user| text_of(&user)).filter(|user| !user.is_empty()).unwrap_or_else(|| "root".into()))
            }
            _ => None,
        };
        if local {
            return Ok(Place { host: "localhost".to_owned(), user, reach: Reach::default() });
        }
        let port = variable(["ansible_port", "ansible_ssh_port"])?;
        let reach = Reach {
            login: variable(["ansible_user", "ansible_ssh_user"])?.map(|user| text_of(&user)),
            address: variable(["ansible_host", "ansible_ssh_host"])?.map(|address| text_of(&address)),
            port: port.map(|port| connection::port("ansible_port", &text_of(&port))).transpose()?,
        };
        Ok(Place { host, user, reach })
    }

    /// The host that a task is delegated to.
    pub(super) fn delegate(&self, task: &Task, scope: &TaskScope) -> Result<Option<String>> {
        let Some(target) = &task.common.delegate_to else { return Ok(None) };
        let host = text_of(&self.engine().resolve(target, &scope.shared())?);
        Ok(match host.as_str() {
            "" => None,
            "127.0.0.1" | "::1" => Some("localhost".to_owned()),
            _ if self.shared.world.knows(&host) => Some(host),
            _ => return Err(Error::usage(format!("`delegate_to: {host}`: there is no such host in the inventory"))),
        })
    }
}
