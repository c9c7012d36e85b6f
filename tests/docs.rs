//! The pages under `docs/reference/` are what the program says of itself; `UPDATE=1 cargo test docs` writes them again.
//! What README shows is checked as far as it can be without machines.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::support::{Sandbox, repository};

/// Compares a generated page with the one in the repository, or writes it.
pub(crate) fn page(name: &str, text: &str) {
    let path = repository().join("docs/reference").join(name);
    #[expect(clippy::disallowed_methods, reason = "asks for the page to be written anew")]
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "`{}` is not what the program says: `UPDATE=1 cargo test docs`", path.display());
}

#[test]
fn docs_the_command_line() {
    let sandbox = Sandbox::new();
    let help = |arguments: &[&str]| {
        let text = sandbox.run(arguments, 0).out;
        text.lines().map(|line| line.trim_end().to_owned() + "\n").collect::<String>()
    };
    let top = help(&["--help"]);
    let commands = top.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .collect();
    assert!(commands.len() > 10, "{top}");
    let mut text = format!("# The command line\n\n```text\n{top}```\n");
    for command in commands.iter().filter(|command| !command.is_empty() && **command != "help") {
        let _ = write!(text, "\n## `infra {command}`\n\n```text\n{}```\n", help(&[command, "--help"]));
    }
    page("cli.md", &text);
}

#[test]
fn docs_the_environment_file() {
    let schema = infra::config::schema();
    let mut text = String::from(
        "# The environment file\n\nEvery key of `envs/<name>/config.yaml`. `infra schema` prints the same as a JSON Schema.\n",
    );
    section(&mut text, "", &schema);
    let mut shown: Vec<&str> = Vec::new();
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        if definition.get("properties").is_some() {
            shown.push(name);
            section(&mut text, name, definition);
        } else if let Some(one) = one_of(definition) {
            section(&mut text, name, &one);
        }
    }
    assert!(shown.len() > 15, "{shown:?}");
    page("environment-file.md", &text);
}

#[test]
fn docs_the_events() {
    let schema = infra::event::schema();
    let mut text = format!(
        "# The stream of events\n\nWith `--json` every command prints one JSON object a line on standard output. Each has `v`, the \
         version of the stream, which is {} and counts up when a field goes or means something else; new events and new fields \
         may come at any time. `at` is the moment in RFC 3339, `event` says what happened.\n\nTwo more come at the end: `summary` \
         with `environment`, `created`, `changed`, `destroyed`, `hosts`, `phases`, `seconds` and `outputs`; and `error` with \
         `message`, `hints`, `exit_code` and `diagnostics`: mistakes of files, each with `severity`, `message`, `hint`, `file`, \
         `line`, `column` and `width`. Warnings of files have `diagnostics`, too. `validate` ends with `valid`, and `plan` prints \
         the plan as one event, `plan`.\n\nExit codes: 0 done, 1 failed, 2 wrong use or a mistake in a file (nothing was \
         changed), 130 interrupted, 143 terminated. `plan --detailed-exitcode` ends with 2 when something would change.\n",
        infra::ui::EVENTS_VERSION
    );
    for event in schema["oneOf"].as_array().unwrap() {
        let name = event["properties"]["event"]["const"].as_str().unwrap();
        section(&mut text, name, event);
    }
    page("events.md", &text);
}

/// A definition that is one of several mappings of one key each, as one mapping.
fn one_of(definition: &Value) -> Option<Value> {
    let mut properties = Map::new();
    for choice in definition["oneOf"].as_array()? {
        for (key, property) in choice["properties"].as_object()? {
            let mut property = property.clone();
            property["description"] = choice["description"].clone();
            properties.insert(key.clone(), property);
        }
    }
    let described = format!("{} Exactly one of these keys.", definition["description"].as_str()?);
    Some(serde_json::json!({ "description": described, "properties": properties }))
}

fn section(text: &mut String, name: &str, schema: &Value) {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    if !name.is_empty() {
        let described = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
        let _ = write!(text, "\n## {name}\n\n{described}\n");
    }
    text.push_str("\n| key | value | meaning |\n|---|---|---|\n");
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (key, property) in properties {
        let must = if required.iter().any(|name| name == key) { ", required" } else { "" };
        let meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        let usual = match property.get("default") {
            Some(Value::Null | Value::Object(_)) | None => String::new(),
            Some(Value::Array(items)) if items.is_empty() => String::new(),
            Some(value) => format!(" (default `{}`)", value.to_string().trim_matches('"')),
        };
        let _ = writeln!(text, "| `{key}` | {}{must} | {meaning}{usual} |", kind(property));
    }
}

/// A few words for the values that a property takes.
fn kind(schema: &Value) -> String {
    let reference = |schema: &Value| schema["$ref"].as_str().map(|path| path.rsplit('/').next().unwrap().to_owned());
    if let Some(name) = reference(schema) {
        return name;
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let words: Vec<String> = choices.iter().filter(|choice| choice["type"] != "null").map(kind).collect();
            return words.join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        return values
            .iter()
            .map(|value| format!("`{}`", value.to_string().trim_matches('"')))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    let of = |value: &Value| if value.is_object() { kind(value) } else { "anything".to_owned() };
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().find(|name| **name != "null").and_then(Value::as_str),
        name => name.as_str(),
    };
    match name {
        Some("object") => {
            let patterns = schema["patternProperties"].as_object();
            let values = patterns.and_then(|patterns| patterns.values().next());
            format!("mapping of {}", of(values.unwrap_or(&schema["additionalProperties"])))
        }
        Some("array") => format!("list of {}", of(&schema["items"])),
        Some(name) => name.to_owned(),
        None => "anything".to_owned(),
    }
}

#[test]
fn docs_every_command_in_the_readme_exists() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let known = std::fs::read_to_string(repository().join("docs/reference/cli.md")).unwrap();
    let mut seen = 0;
    for shown in readme.split("`infra ").skip(1).filter_map(|rest| rest.split('`').next()) {
        let command = shown.split_whitespace().next().unwrap_or_default();
        if command.starts_with(|c: char| c.is_ascii_lowercase()) {
            assert!(known.contains(&format!("## `infra {command}`")), "README shows `infra {shown}`");
            seen += 1;
        }
    }
    assert!(seen > 10, "README shows only {seen} commands");
    for target in readme.lines().filter_map(|line| line.trim().strip_prefix("make ")) {
        let target = target.split_whitespace().next().unwrap_or_default();
        let makefile = std::fs::read_to_string(repository().join("Makefile")).unwrap();
        assert!(makefile.contains(&format!("\n{target}:")), "README shows `make {target}`");
    }
}

/// Links between the pages of the repository lead somewhere.
#[test]
fn docs_links_lead_somewhere() {
    let mut pages: Vec<std::path::PathBuf> = Vec::new();
    for folder in ["", "docs", "docs/adr", "docs/reference"] {
        let entries = std::fs::read_dir(repository().join(folder)).unwrap();
        pages.extend(entries.map(|e| e.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            if !path.is_empty() && !target.contains("://") {
                assert!(page.parent().unwrap().join(path).exists(), "`{}` links to `{target}`", page.display());
            }
        }
    }
}

#[test]
fn docs_the_playbooks() {
    use infra::playbook::{
        NO_EFFECT, VARIABLES, arguments,
        keywords::{KEYWORDS, Support},
    };

    let says = |support: Support| match support {
        Support::Done => "done".to_owned(),
        Support::NoEffect(why) => format!("no effect: {why}"),
        Support::Refused(instead) => format!("refused: {instead}"),
    };
    let mut text = String::from(
        "# Playbooks\n\nPlaybooks have Ansible's format. What is not in these tables is an error with its place in the file, before any \
         host is touched; so is what is refused.\n\n## Keywords\n\nThe keywords of ansible-core 2.19, and what becomes of each.\n\n\
         | keyword | where | what becomes of it |\n|---|---|---|\n",
    );
    let mut rows: Vec<_> = KEYWORDS.iter().collect();
    rows.sort_by_key(|row| row.name);
    for row in rows {
        let places: Vec<&str> = row.places.iter().map(|place| place.name()).collect();
        let _ = writeln!(text, "| `{}` | {} | {} |", row.name, places.join(", "), says(row.support));
    }
    text.push_str(
        "\n## Connection variables\n\nThey come before the keywords, as in Ansible; for a delegated task those of the delegate count.\n\n\
         | variable | what becomes of it |\n|---|---|\n",
    );
    for (name, support) in VARIABLES {
        let _ = writeln!(text, "| `{name}` | {} |", says(*support));
    }
    text.push_str("\n## Modules\n\n| module | arguments |\n|---|---|\n");
    for (name, arguments, free_form) in arguments() {
        let mut all: Vec<String> = arguments.iter().map(|argument| format!("`{argument}`")).collect();
        all.sort();
        all.extend(free_form.then(|| "a text".to_owned()));
        let all = if all.is_empty() { "any".to_owned() } else { all.join(", ") };
        let _ = writeln!(text, "| `{name}` | {all} |");
    }
    text.push_str("\nThese arguments are accepted and change nothing:\n\n| argument | why |\n|---|---|\n");
    for (module, argument, why) in NO_EFFECT {
        let _ = writeln!(text, "| `{argument}` of `{module}` | {why} |");
    }
    text.push_str(
        "\nUnlike in Ansible, `uri` and `get_url` never follow a redirection from https to http, whatever `follow_redirects` says, and \
         send neither credentials nor a body to another origin than that of `url`.\n",
    );
    page("playbooks.md", &text);
}
