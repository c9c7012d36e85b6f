//! `apt`: Debian packages are installed, or not.

use serde::Deserialize;

use super::{
    Argument, Arguments, Call, Decision, Declared, Flag, List, Module, Number, Operation, Outcome, Step, Text,
    arguments::Choice,
    conclude,
    declaration::{arguments, choices},
    probe::Probe,
    script::{Sh, sh},
};
use crate::{
    error::{Error, Result},
    remote::Output,
};

pub(super) struct Apt;

arguments! {
    #[derive(Clone, Default)]
    pub(super) struct AptArguments {
        /// Packages: `nginx`, `nginx=1.2*`, `nginx/stable`.
        #[serde(alias = "pkg", alias = "package", default)]
        name: List,
        #[serde(default)]
        state: PackageState,
        /// Whether the lists of packages are fetched first.
        update_cache: Option<Flag>,
        /// The lists are fetched when they are older than this, in seconds.
        cache_valid_time: Option<Number<u64>>,
        /// Whether recommended packages are installed too.
        install_recommends: Option<Flag>,
        /// The release that packages are taken from.
        default_release: Option<Text>,
        /// Whether configuration files go with a package.
        #[serde(default)]
        purge: Flag,
        /// Whether packages that no other one needs any more are removed.
        #[serde(default)]
        autoremove: Flag,
        /// Whether archives that cannot be fetched any more are removed.
        #[serde(default)]
        autoclean: Flag,
        /// Whether all fetched archives are removed.
        #[serde(default)]
        clean: Flag,
        /// Upgrades all packages.
        upgrade: Option<Choice<Upgrade>>,
        /// A package file on the host, or its address.
        deb: Option<Text>,
        /// Lets apt downgrade, and change and remove what it would keep.
        #[serde(default)]
        force: Flag,
        /// Whether packages without a signature are installed.
        #[serde(default)]
        allow_unauthenticated: Flag,
        /// Whether an older version is installed.
        #[serde(default)]
        allow_downgrade: Flag,
        /// Options of dpkg, with commas between them.
        dpkg_options: Option<Text>,
        /// What `policy-rc.d` ends with meanwhile: `101` keeps services from starting.
        policy_rc_d: Option<Number<u32>>,
        /// How many seconds another apt is waited for.
        lock_timeout: Option<Number<u64>>,
        /// Whether only packages that are installed are upgraded.
        #[serde(default)]
        only_upgrade: Flag,
    }
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
}

choices!(default PackageState);

/// Which upgrade of all packages is made.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Upgrade {
    Dist,
    Full,
    No,
    Safe,
    Yes,
}

choices!(Upgrade);

impl Upgrade {
    fn verb(self) -> Sh {
        match self {
            Self::Dist | Self::Full => sh!("dist-upgrade"),
            Self::No | Self::Safe | Self::Yes => sh!("upgrade --with-new-pkgs"),
        }
    }
}

impl AptArguments {
    /// The packages alone, for any package manager.
    pub(super) fn of_packages(
        name: List, state: PackageState, update_cache: Option<Flag>, cache_valid_time: Option<Number<u64>>,
    ) -> Self {
        Self { name, state, update_cache, cache_valid_time, ..Self::default() }
    }

    /// What brings the packages to this.
    pub(super) fn operation(self) -> Result<Box<dyn Operation>> {
        for name in &self.name.0 {
            if name.contains(">=") {
                let message = format!("`{name}` is not supported: write a version or a pattern of it, `NAME=1.2*`");
                return Err(Error::usage(message));
            }
            if name.contains('=') && self.state == PackageState::Latest {
                return Err(Error::usage(format!("`{name}` names a version, and `state: latest` is any newer one")));
            }
        }
        Ok(Box::new(Packages { arguments: self }))
    }

    fn upgrade(&self) -> Option<Upgrade> {
        self.upgrade.map(|Choice(upgrade)| upgrade).filter(|upgrade| *upgrade != Upgrade::No)
    }

    /// The names about which only apt can say what it would install.
    fn questions(&self) -> Vec<String> {
        let latest = self.state == PackageState::Latest;
        let asks = |name: &&String| latest || (self.state != PackageState::Absent && name.contains('/'));
        self.name.0.iter().filter(asks).cloned().collect()
    }
}

impl Call for Apt {
    fn name(&self) -> &'static str {
        "apt"
    }

    fn about(&self) -> &'static str {
        "Installs, upgrades and removes Debian packages."
    }

    fn arguments(&self) -> &'static [Argument] {
        AptArguments::ARGUMENTS
    }
}

impl Module for Apt {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        super::read::<AptArguments>(task.named)?.operation()
    }
}

struct Packages {
    arguments: AptArguments,
}

/// `name=version`, `name/release` or a plain name.
fn base_name(package: &str) -> &str {
    package.split(['=', '/']).next().unwrap_or(package)
}

/// Whether a version fits a pattern, in which `*` is any text and `?` any character.
fn fits(version: &str, pattern: &str) -> bool {
    match pattern.chars().next() {
        None => version.is_empty(),
        Some('*') => {
            (0..=version.len()).filter(|at| version.is_char_boundary(*at)).any(|at| fits(&version[at..], &pattern[1..]))
        }
        Some(wanted) => version.chars().next().is_some_and(|c| {
            (wanted == '?' || wanted == c) && fits(&version[c.len_utf8()..], &pattern[wanted.len_utf8()..])
        }),
    }
}

impl Packages {
    fn apt_get(&self, words: &Sh) -> Sh {
        let arguments = &self.arguments;
        let mut options = vec![sh!("-y -q")];
        let dpkg = arguments.dpkg_options.as_ref().map_or("force-confdef,force-confold", Text::as_str);
        options.extend(
            dpkg.split(',')
                .map(|option| sh!("-o {0}", format!("Dpkg::Options::=--{}", option.trim().trim_start_matches("--")))),
        );
        let lock = arguments.lock_timeout.map_or(60, |seconds| seconds.0);
        options.push(sh!("-o {0}", format!("DPkg::Lock::Timeout={lock}")));
        if let Some(recommends) = arguments.install_recommends {
            options.push(if recommends.0 { sh!("--install-recommends") } else { sh!("--no-install-recommends") });
        }
        options.extend(arguments.default_release.as_ref().map(|release| sh!("-t {0}", release)));
        for (flag, option) in [
            (arguments.allow_downgrade, sh!("--allow-downgrades")),
            (arguments.allow_unauthenticated, sh!("--allow-unauthenticated")),
            (arguments.only_upgrade, sh!("--only-upgrade")),
            (arguments.force, sh!("--allow-downgrades --allow-remove-essential --allow-change-held-packages")),
            (arguments.autoremove, sh!("--auto-remove")),
        ] {
            if flag.0 {
                options.push(option);
            }
        }
        let options = Sh::join(options, " ");
        sh!("export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8\napt-get {0} {1}", options, words.clone())
    }

    /// Services that the packages bring do not start, when `policy_rc_d` says so.
    fn guarded(&self, script: Sh) -> Sh {
        let Some(code) = self.arguments.policy_rc_d else { return script };
        sh!(
            "p=/usr/sbin/policy-rc.d; [ -e $p ] && mv $p $p.infra; printf '#!/bin/sh\\nexit %s\\n' {0} >$p; chmod 755 $p\n\
             ({1}); rc=$?; rm -f $p; [ -e $p.infra ] && mv $p.infra $p; exit $rc",
            code,
            script
        )
    }
}

impl Operation for Packages {
    fn probe(&self) -> Option<Probe> {
        let arguments = &self.arguments;
        let mut probes = vec![Probe::age_of_package_lists()];
        if !arguments.name.0.is_empty() {
            let names: Vec<String> = arguments.name.0.iter().map(|name| base_name(name).to_owned()).collect();
            probes.push(Probe::packages(&names));
        }
        let release = arguments.default_release.as_ref().map(Text::as_str);
        let questions = arguments.questions();
        if !questions.is_empty() {
            probes.push(Probe::pending(&questions, release));
        }
        probes.extend(arguments.deb.as_ref().map(|deb| Probe::package_file(deb.as_str())));
        probes.extend(arguments.upgrade().map(|upgrade| Probe::upgradable(&upgrade.verb(), release)));
        Some(Probe::all(probes))
    }

    fn decide(&self, seen: &Output) -> Result<Decision> {
        let arguments = &self.arguments;
        let out = seen.out();
        let mut lines = out.lines();
        let age: u64 = lines.next().and_then(|line| line.trim().parse().ok()).unwrap_or(u64::MAX);
        let lines: Vec<&str> = lines.collect();
        let valid = arguments.cache_valid_time.map(|valid| valid.0);
        let update =
            arguments.update_cache.map_or(valid.is_some(), |flag| flag.0) && valid.is_none_or(|valid| age > valid);
        // What apt says of its lists is as old as they are: where they are read again first, only apt itself can tell then.
        let of_lists = |question: &str| if update { Ok(true) } else { answer(&lines, question) };
        let pending = !arguments.questions().is_empty() && of_lists("latest")?;
        let upgrade = arguments.upgrade();
        let upgrade = if upgrade.is_some() && of_lists("upgrade")? { upgrade } else { None };
        let deb = if arguments.deb.is_some() && answer(&lines, "deb")? { arguments.deb.as_ref() } else { None };
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
                PackageState::Present => match name.split_once('=') {
                    Some((_, wanted)) => installed.is_none_or(|version| !fits(version, wanted)),
                    None => installed.is_none() || (pending && name.contains('/')),
                },
            }
        });
        let mut steps = Vec::new();
        if update {
            steps.push(self.apt_get(&sh!("update")));
        }
        if !names.is_empty() {
            let verb = match (arguments.state, arguments.purge.0) {
                (PackageState::Absent, true) => sh!("purge"),
                (PackageState::Absent, false) => sh!("remove"),
                _ => sh!("install"),
            };
            steps.push(self.guarded(self.apt_get(&sh!("{0} -- {1}", verb, names))));
        }
        if let Some(upgrade) = upgrade {
            steps.push(self.guarded(self.apt_get(&upgrade.verb())));
        }
        if let Some(deb) = deb {
            steps.push(self.guarded(self.apt_get(&sh!("install -- {0}", deb))));
        }
        if arguments.autoremove.0 && arguments.name.0.is_empty() {
            steps.push(self.apt_get(&sh!("autoremove")));
        }
        if arguments.autoclean.0 {
            steps.push(self.apt_get(&sh!("autoclean")));
        }
        if arguments.clean.0 {
            steps.push(sh!("apt-get clean"));
        }
        // Reading the lists again is a change only where nothing else was asked for, as in Ansible.
        let more = steps.len() > usize::from(update);
        let alone = arguments.name.0.is_empty() && arguments.upgrade().is_none() && arguments.deb.is_none();
        let mut result = super::entry("cache_updated", update);
        result.insert("packages".to_owned(), names.into());
        let steps = steps.into_iter().map(Step::Run).collect();
        Ok(Decision { changed: more || (update && alone), steps, result, diffs: Vec::new() })
    }

    fn conclude(&self, decision: Decision, outputs: &[Output]) -> Outcome {
        let update = usize::from(decision.result.get("cache_updated") == Some(&true.into()));
        let mut outcome = conclude(decision, outputs);
        let text: String = outputs.iter().map(Output::out).collect();
        let mut acting = outputs.iter().skip(update).peekable();
        // What was decided before the lists were read, and names that only apt knows: whether something changed, apt says.
        if outcome.failure.is_none() && acting.peek().is_some() {
            outcome.changed = !acting.all(|output| is_idle(&output.out()));
        }
        outcome.result.insert("stdout".to_owned(), text.into());
        outcome
    }
}

/// What apt says about one question, in the lines that [`Probe`] prints.
fn answer(lines: &[&str], question: &str) -> Result<bool> {
    let about = |sign: char| {
        let mut said = lines.iter().filter_map(move |line| line.strip_prefix(sign)?.strip_prefix(question));
        said.find(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    match about('!') {
        Some(why) => Err(Error::new(match question {
            "deb" => format!("the file of `deb` cannot be used:{why}"),
            _ => format!("apt cannot say what it would install:{}", why.trim_end()),
        })),
        None => Ok(about('+').is_some()),
    }
}

/// Whether apt says that it had nothing to do.
fn is_idle(said: &str) -> bool {
    ["0 upgraded, 0 newly installed, 0 to remove", "0 upgraded, 0 newly installed, 0 downgraded, 0 to remove"]
        .iter()
        .any(|idle| said.contains(&format!("\n{idle}")) || said.starts_with(idle))
}
