//! The JSON Schema that editors use accepts what we ship, by an implementation that is not ours.

use crate::support::repository;

fn shipped() -> Vec<std::path::PathBuf> {
    let envs = repository().join("envs");
    let files = infra::files::walk(&envs).unwrap().into_iter();
    files.filter(|path| path.ends_with("config.yaml")).map(|path| envs.join(path)).collect()
}

#[test]
fn shipped_files_are_valid_by_the_schema() {
    let validator = jsonschema::validator_for(&infra::config::schema()).unwrap();
    assert!(!shipped().is_empty());
    for path in shipped() {
        let (node, _) = infra::yaml::parse(&infra::yaml::read(&path).unwrap()).unwrap();
        let value = node.to_value();
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {}", path.display(), errors.join("\n"));
    }
}

#[test]
fn a_key_with_nothing_behind_it_is_valid_where_the_loader_takes_it() {
    let validator = jsonschema::validator_for(&infra::config::schema()).unwrap();
    for (text, valid) in [
        ("postgres: {main: {users: {app: }}}", true),
        ("instances: {a: , b: {resources: }}", true),
        ("instances:\nttl:", true),
        ("nginx: {front: {upstreams: {x: {group: , port: 80}}}}", false),
        ("playbooks: [null]", false),
    ] {
        let (node, _) = infra::yaml::parse(&infra::yaml::Source::new("t", text)).unwrap();
        assert_eq!(validator.is_valid(&node.to_value()), valid, "{text}");
    }
}

#[test]
fn the_schema_refuses_what_the_loader_refuses() {
    let validator = jsonschema::validator_for(&infra::config::schema()).unwrap();
    for text in ["instance: {}", "instances: {a: {cpu: 2}}", "provider: azure", "instances: {A_b: {}}"] {
        let (node, _) = infra::yaml::parse(&infra::yaml::Source::new("t", text)).unwrap();
        assert!(!validator.is_valid(&node.to_value()), "{text}");
    }
}
