//! `apt`: Debian packages are installed, or not.

use serde::Deserialize;

use super::{Arguments, Decision, Flag, List, Module, Operation, Outcome, Step, Text, conclude};
use crate::{
    error::{Error, Result},
    remote::{Output, quote},
};

pub(super) struct Apt;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct AptArguments {
    #[serde(alias = "pkg", alias = "package", default)]
    name: List,
    #[serde(default)]
    state: PackageState,
    update_cache: Option<Flag>,
    cache_valid_time: Option<u64>,
    install_recommends: Option<Flag>,
    default_release: Option<Text>,
    #[serde(default)]
    purge: Flag,
    #[serde(default)]
    autoremove: Flag,
    #[serde(default)]
    autoclean: Flag,
    #[serde(default)]
    clean: Flag,
    upgrade: Option<Text>,
    deb: Option<Text>,
    #[serde(default)]
    force: Flag,
    #[serde(default)]
    allow_unauthenticated: Flag,
    #[serde(default)]
    allow_downgrade: Flag,
    dpkg_options: Option<Text>,
    policy_rc_d: Option<u32>,
    lock_timeout: Option<u64>,
    #[serde(default)]
    only_upgrade: Flag,
}

/// What a package shall be.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PackageState {
    #[default]
    #[serde(alias = "installed")]
    Present,
    #[serde(alias = "removed")]
    Absent,
    Latest,
    BuildDep,
    Fixed,
}

impl Module for Apt {
    fn name(&self) -> &'static str {
        "apt"
    }

    fn arguments(&self) -> &'static [&'static str] {
        &[
            "name",
            "pkg",
            "package",
            "state",
            "update_cache",
            "cache_valid_time",
            "install_recommends",
            "default_release",
            "purge",
            "autoremove",
            "autoclean",
            "clean",
            "upgrade",
            "deb",
            "force",
            "allow_unauthenticated",
            "allow_downgrade",
            "dpkg_options",
            "policy_rc_d",
            "lock_timeout",
            "only_upgrade",
        ]
    }

    fn prepare(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: AptArguments = super::read(task.named)?;
        if matches!(arguments.state, PackageState::BuildDep | PackageState::Fixed) {
            return Err(Error::usage("`state` must be present, absent or latest"));
        }
        Ok(Box::new(Packages { arguments }))
    }
}

struct Packages {
    arguments: AptArguments,
}

/// `name=version`, `name/release` or a plain name.
fn base_name(package: &str) -> &str {
    package.split(['=', '/']).next().unwrap_or(package)
}

impl Packages {
    fn apt_get(&self, words: &str) -> String {
        let arguments = &self.arguments;
        let mut options = String::from("-y -q");
        for option in arguments.dpkg_options.as_ref().map_or("force-confdef,force-confold", Text::as_str).split(',') {
            options += &format!(" -o Dpkg::Options::=--{option}");
        }
        options += &format!(" -o DPkg::Lock::Timeout={}", arguments.lock_timeout.unwrap_or(60));
        if let Some(recommends) = arguments.install_recommends {
            options += if recommends.0 { " --install-recommends" } else { " --no-install-recommends" };
        }
        if let Some(release) = &arguments.default_release {
            options += &format!(" -t {}", quote(release.as_str()));
        }
        for (flag, option) in [
            (arguments.allow_downgrade, " --allow-downgrades"),
            (arguments.allow_unauthenticated, " --allow-unauthenticated"),
            (arguments.only_upgrade, " --only-upgrade"),
            (arguments.force, " --allow-downgrades --allow-remove-essential --allow-change-held-packages"),
            (arguments.autoremove, " --auto-remove"),
        ] {
            if flag.0 {
                options += option;
            }
        }
        format!("export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8\napt-get {options} {words}")
    }

    /// Services that the packages bring do not start, when `policy_rc_d` says so.
    fn guarded(&self, script: String) -> String {
        let Some(code) = self.arguments.policy_rc_d else { return script };
        format!(
            "p=/usr/sbin/policy-rc.d; [ -e $p ] && mv $p $p.infra; printf '#!/bin/sh\\nexit {code}\\n' >$p; chmod 755 $p\n\
             ({script}); rc=$?; rm -f $p; [ -e $p.infra ] && mv $p.infra $p; exit $rc"
        )
    }
}

impl Operation for Packages {
    fn probe(&self) -> Option<String> {
        let arguments = &self.arguments;
        let mut parts = Vec::new();
        // One line with the age of the package lists in seconds; no lists at all are very old.
        parts.push(
            "set -- /var/lib/apt/lists/*_Packages*; m=0; [ -e \"$1\" ] && m=$(stat -c %Y /var/lib/apt/lists); \
             echo $(( $(date +%s) - m ))"
                .to_owned(),
        );
        if !arguments.name.0.is_empty() {
            let names: Vec<String> = arguments.name.0.iter().map(|name| quote(base_name(name))).collect();
            parts.push(format!("dpkg-query -W -f '${{binary:Package}} ${{db:Status-Status}} ${{Version}} ${{Provides}}\\n' {} 2>/dev/null", names.join(" ")));
            if arguments.state == PackageState::Latest {
                parts.push(format!(
                    "apt-get -s -q install {} 2>/dev/null | grep '^Inst ' | sed 's/^/+ /'",
                    names.join(" ")
                ));
            }
        }
        if let Some(deb) = &arguments.deb {
            let file = quote(deb.as_str());
            parts.push(format!(
                "n=$(dpkg-deb -f {file} Package); v=$(dpkg-deb -f {file} Version); \
                 [ \"$(dpkg-query -W -f '${{Version}}' \"$n\" 2>/dev/null)\" = \"$v\" ] || echo '+ deb'"
            ));
        }
        if arguments.upgrade.is_some() {
            parts.push("apt-get -s -q dist-upgrade 2>/dev/null | grep '^Inst ' | sed 's/^/+ /'".to_owned());
        }
        Some(parts.join("; ") + " || :")
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let arguments = &self.arguments;
        let out = seen.out();
        let mut lines = out.lines();
        let age: u64 = lines.next().and_then(|line| line.trim().parse().ok()).unwrap_or(u64::MAX);
        let lines: Vec<&str> = lines.collect();
        let pending = lines.iter().any(|line| line.starts_with("+ "));
        let version = |name: &str| {
            lines.iter().find_map(|line| {
                let mut words = line.split(' ');
                let (package, status, version) = (words.next()?, words.next()?, words.next()?);
                (package.split(':').next() == Some(name) && status == "installed").then_some(version)
            })
        };
        let mut names: Vec<String> = arguments.name.0.clone();
        names.retain(|name| {
            let installed = version(base_name(name));
            match arguments.state {
                PackageState::Absent => installed.is_some() || name.contains('*'),
                PackageState::Latest => installed.is_none() || pending,
                _ => match name.split_once('=') {
                    Some((_, wanted)) => installed.is_none_or(|version| version != wanted && !wanted.contains('*')),
                    None => installed.is_none(),
                },
            }
        });
        let mut steps = Vec::new();
        let valid = arguments.cache_valid_time;
        let update =
            arguments.update_cache.map_or(valid.is_some(), |flag| flag.0) && valid.is_none_or(|valid| age > valid);
        if update {
            steps.push(self.apt_get("update"));
        }
        let quoted = names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(" ");
        if !names.is_empty() {
            let verb = match (arguments.state, arguments.purge.0) {
                (PackageState::Absent, true) => "purge",
                (PackageState::Absent, false) => "remove",
                _ => "install",
            };
            steps.push(self.guarded(self.apt_get(&format!("{verb} {quoted}"))));
        }
        if let Some(upgrade) = arguments.upgrade.as_ref().filter(|upgrade| pending && upgrade.as_str() != "no") {
            let verb =
                if matches!(upgrade.as_str(), "dist" | "full") { "dist-upgrade" } else { "upgrade --with-new-pkgs" };
            steps.push(self.guarded(self.apt_get(verb)));
        }
        if let Some(deb) = arguments.deb.as_ref().filter(|_| pending) {
            steps.push(self.guarded(self.apt_get(&format!("install {}", quote(deb.as_str())))));
        }
        if arguments.autoremove.0 && arguments.name.0.is_empty() {
            steps.push(self.apt_get("autoremove"));
        }
        if arguments.autoclean.0 {
            steps.push(self.apt_get("autoclean"));
        }
        if arguments.clean.0 {
            steps.push("apt-get clean".to_owned());
        }
        // Reading the lists anew is a change only where nothing else was asked for, as Ansible tells it.
        let more = steps.len() > usize::from(update);
        let alone = arguments.name.0.is_empty() && arguments.upgrade.is_none() && arguments.deb.is_none();
        let mut result = super::entry("cache_updated", update);
        result.insert("packages".to_owned(), names.into());
        let steps = steps.into_iter().map(Step::Run).collect();
        Ok(Decision { changed: more || (update && alone), steps, result, diffs: Vec::new() })
    }

    fn conclude(&self, decision: Decision, outputs: &[Output]) -> Outcome {
        let mut outcome = conclude(decision, outputs);
        let text: String = outputs.iter().map(Output::out).collect();
        let idle = text.contains("\n0 upgraded, 0 newly installed, 0 to remove")
            || text.contains("0 upgraded, 0 newly installed, 0 downgraded, 0 to remove");
        // apt knows names that dpkg does not: virtual packages, which are provided already.
        if idle && outcome.failure.is_none() && !self.arguments.name.0.is_empty() {
            outcome.changed = false;
        }
        outcome.result.insert("stdout".to_owned(), text.into());
        outcome
    }
}
