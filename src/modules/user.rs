//! `user`: a login exists with these properties, or does not.

use serde::Deserialize;

use serde_json::{Map, Value};

use super::{
    Argument, Arguments, Call, Decision, Declared, Flag, List, Module, Number, Operation, Outcome, Step, Text,
    conclude,
    declaration::{arguments, choices},
    edit::Presence,
    entry,
    probe::Probe,
    script::{Sh, sh},
};
use crate::{
    error::{Error, Result},
    remote::Output,
};

pub(super) struct User;

arguments! {
    struct UserArguments {
        #[serde(alias = "user")]
        name: Text,
        #[serde(default)]
        state: Presence,
        uid: Option<Number<u32>>,
        group: Option<Text>,
        /// Groups beside the main one.
        groups: Option<List>,
        /// Whether other groups that it is in stay.
        #[serde(default)]
        append: Flag,
        comment: Option<Text>,
        home: Option<Text>,
        shell: Option<Text>,
        /// Whether a new user gets a folder.
        #[serde(default, alias = "createhome")]
        create_home: Flag<true>,
        /// Whether its number is one of those of the system.
        #[serde(default)]
        system: Flag,
        /// The hash of the password, as in `/etc/shadow`.
        password: Option<Text>,
        #[serde(default)]
        update_password: UpdatePassword,
        /// Whether its folder goes with a user that is removed.
        #[serde(default)]
        remove: Flag,
        /// Whether a user that is logged in is removed.
        #[serde(default)]
        force: Flag,
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum UpdatePassword {
    #[default]
    Always,
    OnCreate,
}

choices!(default UpdatePassword);

impl Call for User {
    fn name(&self) -> &'static str {
        "user"
    }

    fn about(&self) -> &'static str {
        "Creates, changes or removes a user."
    }

    fn arguments(&self) -> &'static [Argument] {
        UserArguments::ARGUMENTS
    }
}

impl Module for User {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: UserArguments = super::read(task.named)?;
        let texts = [&arguments.comment, &arguments.home, &arguments.shell, &arguments.password];
        let texts = texts.into_iter().flatten().map(|text| text.0.as_str());
        // These are the fields and lines of `/etc/passwd`, and of what chpasswd reads.
        if texts.chain([arguments.name.as_str()]).any(|text| text.contains([':', '\n'])) {
            return Err(Error::usage("a field of a user can hold neither `:` nor a line break"));
        }
        Ok(Box::new(UserOperation(arguments)))
    }
}

struct UserOperation(UserArguments);

/// What the host says of a user: lines of [`known`].
#[derive(Default)]
struct Account<'a> {
    fields: Vec<&'a str>,
    /// The names of the groups, the main one first.
    groups: Vec<&'a str>,
    hash: &'a str,
}

/// The entry of a user, its groups, and the password's hash if we may see it.
fn known(name: &str) -> Probe {
    Probe::all([Probe::entry("passwd", name), Probe::groups(name), Probe::entry("shadow", name)])
}

impl<'a> Account<'a> {
    fn of(out: &'a str) -> Option<Self> {
        let mut lines = out.lines();
        let fields: Vec<&str> = lines.next()?.split(':').collect();
        let groups = lines.next().unwrap_or_default().split_whitespace().collect();
        let hash = lines.next().unwrap_or_default().split(':').nth(1).unwrap_or_default();
        (fields.len() >= 7).then_some(Self { fields, groups, hash })
    }

    fn describe(&self, result: &mut Map<String, Value>) {
        for (field, at) in [("uid", 2), ("group", 3), ("comment", 4), ("home", 5), ("shell", 6)] {
            let value = self.fields[at];
            let number = if matches!(field, "uid" | "group") { value.parse::<u32>().ok() } else { None };
            result.insert(field.to_owned(), number.map_or_else(|| value.into(), Into::into));
        }
    }
}

impl UserOperation {
    /// The options that bring a user to what is asked for, from what it is now.
    fn options(&self, now: Option<&Account<'_>>) -> Vec<Sh> {
        let user = &self.0;
        let mut options = Vec::new();
        let mut option = |flag: Sh, wanted: Option<&str>, now: Option<&str>| {
            if let Some(wanted) = wanted.filter(|wanted| Some(*wanted) != now) {
                options.push(sh!("{0} {1}", flag, wanted));
            }
        };
        let field = |at: usize| now.map(|now| now.fields[at]);
        let uid = user.uid.map(|uid| uid.0.to_string());
        option(sh!("--uid"), uid.as_deref(), field(2));
        let group = user.group.as_ref().map(Text::as_str);
        let main_group = now.and_then(|now| now.groups.first().copied()).filter(|main| group == Some(*main));
        option(sh!("--gid"), group, main_group.or(field(3)));
        option(sh!("--comment"), user.comment.as_ref().map(Text::as_str), field(4));
        let home = if now.is_some() { sh!("--home") } else { sh!("--home-dir") };
        option(home, user.home.as_ref().map(Text::as_str), field(5));
        option(sh!("--shell"), user.shell.as_ref().map(Text::as_str), field(6));
        if let Some(wanted) = &user.groups {
            let groups = now.map_or(&[] as &[&str], |now| now.groups.as_slice());
            let missing = wanted.0.iter().any(|group| !groups.contains(&group.as_str()));
            let surplus = !user.append.0 && groups.iter().skip(1).any(|group| !wanted.0.iter().any(|w| w == group));
            if now.is_none() || missing || surplus {
                let append = if now.is_some() && user.append.0 { sh!("--append ") } else { Sh::default() };
                options.push(sh!("{0}--groups {1}", append, wanted.0.join(",")));
            }
        }
        options
    }
}

impl Operation for UserOperation {
    fn probe(&self) -> Option<Probe> {
        Some(known(self.0.name.as_str()))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let user = &self.0;
        let out = seen.out();
        let now = Account::of(&out);
        let name = &user.name;
        let mut result = entry("name", name.as_str());
        if user.state == Presence::Absent {
            result.insert("state".to_owned(), "absent".into());
            result.insert("remove".to_owned(), user.remove.0.into());
            result.insert("force".to_owned(), user.force.0.into());
            let remove = if user.remove.0 { sh!(" --remove") } else { Sh::default() };
            let force = if user.force.0 { sh!(" --force") } else { Sh::default() };
            return Ok(match now {
                Some(_) => Decision::run([sh!("userdel{0}{1} -- {2}", remove, force, name)], result),
                None => Decision::unchanged(result),
            });
        }
        result.insert("state".to_owned(), "present".into());
        result.insert("append".to_owned(), user.append.0.into());
        if let Some(groups) = &user.groups {
            result.insert("groups".to_owned(), groups.0.join(",").into());
        }
        let mut options = self.options(now.as_ref());
        let mut scripts = Vec::new();
        match &now {
            Some(now) => {
                now.describe(&mut result);
                if !options.is_empty() {
                    scripts.push(sh!("usermod {0} -- {1}", Sh::join(options, " "), name));
                }
            }
            None => {
                options.push(if user.create_home.0 { sh!("--create-home") } else { sh!("--no-create-home") });
                if user.system.0 {
                    options.push(sh!("--system"));
                }
                result.insert("create_home".to_owned(), user.create_home.0.into());
                result.insert("system".to_owned(), user.system.0.into());
                scripts.push(sh!("useradd {0} -- {1}", Sh::join(options, " "), name));
            }
        }
        if let Some(password) = &user.password
            && now.as_ref().is_none_or(|now| password.0 != now.hash && user.update_password == UpdatePassword::Always)
        {
            // On standard input: arguments can be seen by everybody on the host.
            scripts.push(sh!(
                "printf '%s\\n' {0} | chpasswd -e",
                format!("{name}:{password}", name = name.0, password = password.0)
            ));
        }
        if scripts.is_empty() {
            return Ok(Decision::unchanged(result));
        }
        // What the user is now, for the result.
        let mut decision = Decision::run(scripts, result);
        decision.steps.push(Step::Run(known(name.as_str()).into_script()));
        Ok(decision)
    }

    fn conclude(&self, decision: Decision, outputs: &[Output]) -> Outcome {
        let is_there = self.0.state == Presence::Present;
        let mut outcome = conclude(decision, outputs);
        if let Some(output) = outputs.last().filter(|output| is_there && output.succeeded())
            && let Some(account) = Account::of(&output.out())
        {
            account.describe(&mut outcome.result);
        }
        outcome
    }
}
