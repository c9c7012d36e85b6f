//! What tasks observe is what they observe under Ansible: plays that write down what they see, and what ansible-core wrote.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use infra::playbook::{Inventory, Options};

use crate::{
    e2e::copy,
    plays::{Hosts, play},
    support::repository,
};

/// Where the plays write, on the host on which Ansible answered.
const PROBE: &str = "/opt/probe";

/// The plays and the answers, with another folder in place of that one.
fn prepare(folder: &Path) -> BTreeMap<String, String> {
    let probe = folder.join("probe").display().to_string();
    std::fs::create_dir(&probe).unwrap();
    copy(&repository().join("tests/golden/ansible"), folder);
    let mut answers = BTreeMap::new();
    for file in infra::files::walk(folder).unwrap() {
        let path = folder.join(&file);
        let text = std::fs::read_to_string(&path).unwrap().replace(PROBE, &probe);
        match file.strip_prefix("gold") {
            Ok(name) => drop(answers.insert(name.display().to_string(), text)),
            Err(_) => std::fs::write(&path, text).unwrap(),
        }
    }
    answers
}

#[tokio::test]
async fn semantics_are_those_of_ansible() {
    let folder = tempfile::tempdir().unwrap();
    let answers = prepare(folder.path());
    let mut plays: Vec<_> = infra::files::walk(folder.path()).unwrap();
    plays.retain(|file| {
        file.parent() == Some(Path::new(""))
            && file.as_os_str().len() > 6
            && file.extension().is_some_and(|one| one == "yml")
    });
    assert!(plays.len() >= 6, "{plays:?}");
    let hosts = vec!["pbq1".to_owned()];
    for file in plays {
        let groups = [("all".to_owned(), hosts.clone()), ("lab".to_owned(), hosts.clone())].into();
        let inventory = Inventory { hosts: hosts.clone(), groups, ..Inventory::default() };
        let ran = play(&[folder.path().join(&file)], inventory, Arc::<Hosts>::default(), Options::default()).await;
        assert!(ran.recap.succeeded(), "{}: {:#?}", file.display(), ran.failures);
    }
    let mut others = Vec::new();
    for (name, wanted) in answers {
        let got = std::fs::read_to_string(folder.path().join("probe").join(&name)).unwrap();
        for (at, (got, wanted)) in
            got.lines().zip(wanted.lines()).enumerate().filter(|(_, (got, wanted))| got != wanted)
        {
            others.push(format!("{name}:{}: {got}\n  Ansible: {wanted}", at + 1));
        }
        assert_eq!(got.lines().count(), wanted.lines().count(), "{name}: {got}");
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
}
