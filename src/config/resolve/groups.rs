//! Groups of equal machines as a whole, and the machine that leads to all others.

use std::{collections::BTreeSet, time::Duration};

use super::Resolver;
use crate::{
    config::{
        Group, Host,
        environment::bastion_of,
        file::{HealthCheck, InstanceGroup},
    },
    error::Diagnostic,
    name::Name,
    resource::{self, Address},
};

impl Resolver<'_> {
    /// The group as a whole, for providers that have such things: its first machine says what each of them is.
    pub(super) fn group(&mut self, name: &Name, group: &InstanceGroup) {
        let members: Vec<Name> =
            (1..=group.node_count).filter_map(|number| format!("{name}-{number}").parse().ok()).collect();
        let first = members.first().map(Address::vm);
        let resource = self.resources.iter().find(|resource| Some(&resource.address) == first.as_ref());
        let Some(machine) = resource.and_then(|resource| resource.spec().ok()) else { return };
        let group = Group {
            members,
            machine,
            zones: group.allocation_policy.clone(),
            max_unavailable: group.deploy_policy.max_unavailable,
            max_expansion: group.deploy_policy.max_expansion,
            service_account: group.service_account.clone(),
            health_check: group.health_check.as_ref().map(|check| resource::HealthCheck {
                port: check.port,
                path: check.path.clone(),
                interval: check.interval.0.as_secs(),
                timeout: check.timeout.0.as_secs(),
                failures: check.failures,
                patience: check.patience.0.as_secs(),
            }),
            mark: self.mark(&["instance_groups", name.as_str()]),
        };
        self.groups.insert(name.clone(), group);
    }

    /// What no cloud can make of a group.
    pub(super) fn check_group(&mut self, name: &Name, group: &InstanceGroup) {
        let section = ["instance_groups", name.as_str()];
        let mut seen = BTreeSet::new();
        if let Some(zone) = group.allocation_policy.iter().find(|zone| !seen.insert(*zone)) {
            let place = self.key(&[section[0], section[1], "allocation_policy"]).location();
            let message = format!("the zone `{zone}` is in `allocation_policy` more than once");
            self.found.push(
                Diagnostic::error(place, message).hint("machines are spread evenly over the zones that it names"),
            );
        }
        if group.node_count == 0 {
            let place = self.key(&[section[0], section[1], "node_count"]).location();
            let given =
                self.root.get(section[0]).and_then(|groups| groups.get(section[1])?.get("node_count")).is_some();
            let why = if given { "`node_count` is 0" } else { "it has no `node_count`" };
            let warning = Diagnostic::warning(place, format!("the group `{name}` has no machines: {why}"));
            self.found.push(warning.hint("machines that it had are destroyed; `node_count: 2` makes two"));
        }
        if let Some(check) = &group.health_check {
            self.check_health(&section, check);
        }
    }

    fn check_health(&mut self, section: &[&str; 2], check: &HealthCheck) {
        let mut mistake = |field: &str, message: String, hint: &str| {
            let place = self.key(&[section[0], section[1], "health_check", field]).location();
            self.found.push(Diagnostic::error(place, format!("`health_check`: {message}")).hint(hint));
        };
        if let Some(path) = check.path.as_ref().filter(|path| !path.starts_with('/')) {
            mistake("path", format!("the path `{path}` does not begin with `/`"), &format!("write `/{path}`"));
        }
        let second = Duration::from_secs(1);
        for (field, span) in [("interval", check.interval.0), ("timeout", check.timeout.0)] {
            if span < second {
                mistake(field, format!("`{field}` is less than a second"), "clouds count in seconds");
            }
        }
        if check.timeout.0 >= check.interval.0 {
            let [timeout, interval] = [check.timeout.0, check.interval.0].map(|span| span.as_secs_f64());
            let message = format!("`timeout` ({timeout} s) is not shorter than `interval` ({interval} s)");
            mistake("timeout", message, "a machine is asked again after its answer");
        }
    }

    /// Says when another machine than that of the group `bastion` is the way in: without a public address it is none.
    pub(super) fn bastion(&mut self) {
        let is_named = |host: &Host| host.groups.iter().any(|group| group == "bastion");
        if self.hosts.values().any(|host| host.public && is_named(host)) {
            return;
        }
        let instead = bastion_of(&self.hosts, |_, host| host.public);
        let instead = instead.map_or_else(
            || "nothing leads to the machines".to_owned(),
            |other| format!("`{other}` is the bastion, because it has one"),
        );
        let named = self.hosts.iter().filter(|(_, host)| is_named(host));
        let warnings: Vec<Diagnostic> = named
            .map(|(name, host)| {
                let message = format!("`{name}` of the group `bastion` has no public address: {instead}");
                Diagnostic::warning(host.mark.location(), message).hint("give it one: `network: {nat: true}`")
            })
            .collect();
        self.found.extend(warnings);
    }
}
