//! `user`: a login exists with these properties, or does not.

use serde::Deserialize;

use super::{Arguments, Decision, Flag, List, Module, Operation, Text, edit::Presence, entry};
use crate::{
    error::Result,
    remote::{Output, quote},
};

pub(super) struct User;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserArguments {
    #[serde(alias = "user")]
    name: Text,
    #[serde(default)]
    state: Presence,
    uid: Option<u32>,
    group: Option<Text>,
    groups: Option<List>,
    #[serde(default)]
    append: Flag,
    comment: Option<Text>,
    home: Option<Text>,
    shell: Option<Text>,
    #[serde(default = "yes", alias = "createhome")]
    create_home: Flag,
    #[serde(default)]
    system: Flag,
    password: Option<Text>,
    #[serde(default)]
    update_password: UpdatePassword,
    #[serde(default)]
    remove: Flag,
    #[serde(default)]
    force: Flag,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum UpdatePassword {
    #[default]
    Always,
    OnCreate,
}

fn yes() -> Flag {
    Flag(true)
}

impl Module for User {
    fn name(&self) -> &'static str {
        "user"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &[
            "name",
            "user",
            "state",
            "uid",
            "group",
            "groups",
            "append",
            "comment",
            "home",
            "shell",
            "create_home",
            "createhome",
            "system",
            "password",
            "update_password",
            "remove",
            "force",
        ]
    }

    fn prepare(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        Ok(Box::new(UserOperation(super::read(task.named)?)))
    }
}

struct UserOperation(UserArguments);

impl Operation for UserOperation {
    fn probe(&self) -> Option<String> {
        let name = quote(self.0.name.as_str());
        // One line each: the entry, the names of the groups with the main one first, the password's hash if we may see it.
        Some(format!(
            "getent passwd {name} || echo; id -Gn {name} 2>/dev/null || echo; getent shadow {name} 2>/dev/null | cut -d: -f2"
        ))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let user = &self.0;
        let out = seen.out();
        let mut lines = out.lines();
        let fields: Vec<&str> = lines.next().unwrap_or_default().split(':').collect();
        let groups: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
        let hash = lines.next().unwrap_or_default();
        let exists = fields.len() >= 7;
        let name = quote(user.name.as_str());
        let mut result = entry("name", user.name.as_str());
        if user.state == Presence::Absent {
            let flags = format!(
                "{}{}",
                if user.remove.0 { " --remove" } else { "" },
                if user.force.0 { " --force" } else { "" }
            );
            return Ok(if exists {
                Decision::run([format!("userdel{flags} {name}")], result)
            } else {
                Decision::unchanged(result)
            });
        }
        let mut options = Vec::new();
        let mut option = |flag: &str, wanted: Option<String>, now: Option<&str>| {
            if let Some(wanted) = wanted.filter(|wanted| Some(wanted.as_str()) != now) {
                options.push(format!("{flag} {}", quote(&wanted)));
            }
        };
        let text = |text: &Option<Text>| text.as_ref().map(|text| text.0.clone());
        let now = |at: usize| if exists { Some(fields[at]) } else { None };
        option("--uid", user.uid.map(|uid| uid.to_string()), now(2));
        let main_group = groups.first().copied();
        option(
            "--gid",
            text(&user.group),
            main_group.filter(|group| exists && text(&user.group).as_deref() == Some(*group)).or(now(3)),
        );
        option("--comment", text(&user.comment), now(4));
        option("--home-dir", text(&user.home), now(5));
        option("--shell", text(&user.shell), now(6));
        if let Some(wanted) = &user.groups {
            let others: Vec<&str> = groups.iter().skip(1).copied().collect();
            let missing = wanted.0.iter().any(|group| !groups.contains(&group.as_str()));
            let surplus = !user.append.0 && others.iter().any(|group| !wanted.0.iter().any(|w| w == group));
            if !exists || missing || surplus {
                let append = if exists && user.append.0 { "--append " } else { "" };
                options.push(format!("{append}--groups {}", quote(&wanted.0.join(","))));
            }
        }
        let mut scripts = Vec::new();
        if exists {
            if !options.is_empty() {
                let home = if options.iter().any(|option| option.starts_with("--home-dir")) { " " } else { "" };
                scripts.push(format!("usermod{home} {} {name}", options.join(" ").replace("--home-dir", "--home")));
            }
        } else {
            options.push(if user.create_home.0 { "--create-home" } else { "--no-create-home" }.to_owned());
            if user.system.0 {
                options.push("--system".to_owned());
            }
            scripts.push(format!("useradd {} {name}", options.join(" ")));
        }
        if let Some(password) = &user.password
            && password.0 != hash
            && (!exists || user.update_password == UpdatePassword::Always)
        {
            // On standard input: arguments can be seen by everybody on the host.
            scripts.push(format!("chpasswd -e <<'INFRA'\n{}:{}\nINFRA", user.name.0, password.0));
        }
        for (field, at) in [("uid", 2), ("home", 5), ("shell", 6)] {
            if let Some(value) = now(at) {
                result.insert(field.to_owned(), value.parse::<u32>().map_or_else(|_| value.into(), Into::into));
            }
        }
        if let Some(home) = text(&user.home) {
            result.insert("home".to_owned(), home.into());
        }
        Ok(if scripts.is_empty() { Decision::unchanged(result) } else { Decision::run(scripts, result) })
    }
}
