//! Names that a file asks an account for, such as zones and classes, and whether the account has them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Asked, Finding};
use crate::{
    error::did_you_mean,
    resource::{DiskSpec, KindName, PostgresSpec, Resource, VmSpec},
};

/// How many names of a catalogue a message shows.
const SHOWN: usize = 20;

/// Names, each with the sections of the file that ask for it.
pub(super) type Names = BTreeMap<String, BTreeSet<String>>;

/// The names that resources ask for.
pub(super) fn collect(wanted: &[Resource], of: impl Fn(&Resource) -> Vec<Option<String>>) -> Names {
    let mut names = Names::new();
    for one in wanted {
        for name in of(one).into_iter().flatten().filter(|name| !name.is_empty()) {
            names.entry(name).or_default().insert(one.origin.clone());
        }
    }
    names
}

/// The machine that a resource is, or that those of a group are.
pub(super) fn machine(one: &Resource) -> Option<VmSpec> {
    Some(one.machines().ok()??.0)
}

/// The type of disks that managed databases have and machines do not: the machines of the service have them.
const OF_THE_SERVICE: &str = "local-ssd";

/// The types of disks that machines, disks and managed databases ask for.
pub(super) fn disk_types(wanted: &[Resource]) -> Names {
    collect(wanted, |one| match one.address.kind {
        KindName::DISK => vec![one.spec::<DiskSpec>().ok().and_then(|spec| spec.disk_type)],
        KindName::POSTGRES => {
            let asked = one.spec::<PostgresSpec>().ok().and_then(|spec| spec.disk_type);
            vec![asked.filter(|disk_type| disk_type != OF_THE_SERVICE)]
        }
        _ => vec![machine(one).and_then(|machine| machine.disk_type)],
    })
}

/// The families of images that machines are created from.
pub(super) fn images(wanted: &[Resource]) -> Names {
    collect(wanted, |one| vec![machine(one).map(|machine| machine.image)])
}

/// Whether a name is in a catalogue of the account.
pub(super) fn known(what: &str, name: &str, sections: &BTreeSet<String>, there: &[String]) -> Finding {
    if there.iter().any(|one| one == name) {
        return Finding::of(&format!("{what} `{name}`"), Ok("exists".to_owned()));
    }
    let close = did_you_mean(name, there.iter().map(String::as_str)).map(|close| format!("did you mean `{close}`?"));
    let all = (there.len() <= SHOWN).then(|| format!("there are: {}", there.join(", ")));
    let hint = close.into_iter().chain(all).collect::<Vec<_>>().join(" ");
    missing(what, name, sections, "does not exist", hint)
}

/// What an account does not have.
pub(super) fn missing(
    what: &str, name: &str, sections: &BTreeSet<String>, detail: impl Into<String>, hint: impl Into<String>,
) -> Finding {
    Finding {
        check: format!("{what} `{name}`"),
        ok: false,
        needed: true,
        detail: detail.into(),
        hint: hint.into(),
        asked: Some(Asked { value: name.to_owned(), sections: sections.clone() }),
    }
}
