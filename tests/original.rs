//! An environment file as an earlier tool of this kind had it: loads as it stands, with warnings where it was wrong.

use crate::support::Sandbox;

const FILE: &str = include_str!("golden/original/config.yaml");

fn sandbox() -> Sandbox {
    Sandbox::new()
        .file("envs/dev/config.yaml", FILE)
        .file("envs/dev/monitoring.yml", "services: {}\n")
        .file("build/prod-docker-compose.yml", "services: {}\n")
        .file("terraform/README.md", "paths start here\n")
}

#[test]
fn loads_with_warnings_and_honours_the_alias() {
    let printed = sandbox().run(&["validate", "dev", "--files-root", "terraform"], 0);
    assert_eq!(printed.err.matches("`family_id` is read as `image_family`").count(), 4, "{}", printed.err);
    assert!(printed.out.contains("6 machines"), "{}", printed.out);
}

#[test]
fn tells_where_files_are_missing() {
    let printed = sandbox().run(&["validate", "dev"], 2);
    assert!(
        printed.err.contains("there is no file `$PROJECT/envs/dev/../build/prod-docker-compose.yml`"),
        "{}",
        printed.err
    );
    assert!(printed.err.contains("--files-root"), "{}", printed.err);
}

#[test]
fn a_folder_must_be_named() {
    let sandbox = Sandbox::new().file(
        "envs/dev/config.yaml",
        "provider: yandex
",
    );
    let printed = sandbox.run(&["plan", "dev"], 2);
    assert!(printed.err.contains("needs the folder that holds the environment"), "{}", printed.err);
    assert!(printed.err.contains("folder_id: b1g"), "{}", printed.err);
}
