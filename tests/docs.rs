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

/// Pages that people read, with their texts: README, CONTRIBUTING and `docs/`, without the decisions, which tell of their time.
fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    for folder in ["", "docs"] {
        let entries = std::fs::read_dir(repository().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let texts = entries.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
        pages.extend(texts.filter(|path| !path.ends_with("CHANGELOG.md")).map(|path| {
            let name = path.strip_prefix(repository()).unwrap().display().to_string();
            (name, std::fs::read_to_string(&path).unwrap())
        }));
    }
    assert!(pages.len() > 8, "{pages:?}");
    pages
}

/// What is shown as code in a page: each block of lines between fences, with its language and the line at which it begins.
fn blocks(text: &str) -> Vec<(usize, &str, String)> {
    let mut blocks: Vec<(usize, &str, String)> = Vec::new();
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        match line.trim().strip_prefix("```") {
            Some(language) if !open => blocks.push((at + 1, language, String::new())),
            None if open => blocks.last_mut().unwrap().2 += &format!("{line}\n"),
            Some(_) | None => {}
        }
        open ^= line.trim().starts_with("```");
    }
    blocks
}

/// Each YAML block is an environment file, or a part of one: it is valid as it is written there.
#[test]
fn docs_the_environments_that_are_shown_are_valid() {
    let mut seen = 0;
    for (page, text) in pages() {
        for (line, _, file) in blocks(&text).into_iter().filter(|(_, language, _)| *language == "yaml") {
            let sandbox = Sandbox::new().file("envs/shown/config.yaml", &file).file("envs/shown/key.json", "{}");
            let printed = sandbox.command(&["validate", "shown"]).output().unwrap();
            let said = String::from_utf8_lossy(&printed.stderr);
            assert!(printed.status.success(), "the YAML at {page}:{line} is not valid:\n{said}");
            seen += 1;
        }
    }
    assert!(seen > 5, "the pages show only {seen} environments");
}

/// Every command that a page shows exists, and so do its options.
#[test]
fn docs_the_commands_that_are_shown_exist() {
    let known = std::fs::read_to_string(repository().join("docs/reference/cli.md")).unwrap();
    let help = |command: &str| known.split(&format!("## `infra {command}`\n")).nth(1)?.split("\n## ").next();
    let makefile = std::fs::read_to_string(repository().join("Makefile")).unwrap();
    let mut seen = 0;
    for (page, text) in pages() {
        // What is between fences is a block.
        let inline = text.split("```").step_by(2).collect::<Vec<_>>().join("\n");
        let spans = inline.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>().into_iter();
        let lines =
            blocks(&text).into_iter().flat_map(|(_, _, block)| block.lines().map(str::to_owned).collect::<Vec<_>>());
        for shown in spans.chain(lines) {
            let mut words = shown.split_whitespace();
            let (program, command) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let plain = !command.is_empty() && command.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            if program == "make" && plain {
                assert!(makefile.contains(&format!("\n{command}:")), "{page} shows `make {command}`");
            } else if program == "infra" && plain && !command.starts_with('-') {
                let help = help(command).unwrap_or_else(|| panic!("{page} shows `{shown}`"));
                for option in words.take_while(|word| !["--", "#", "|", "&&", "||"].contains(word)) {
                    let option = option.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
                    let name = option.split('=').next().unwrap_or_default();
                    // Commands of commands have pages of their own, which only the program prints.
                    let nested = help.contains("\nCommands:\n");
                    let ends = [' ', '[', '\n'];
                    let exists = nested || ends.iter().any(|end| help.contains(&format!("{name}{end}")));
                    assert!(!name.starts_with("--") || exists, "{page} shows `{shown}`, which has no `{name}`");
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "the pages show only {seen} commands");
}

#[test]
fn docs_what_templates_see() {
    let schema = infra::configure::values_schema();
    let mut text = String::from(
        "# What templates see\n\nTemplates, playbooks and `outputs` see these variables of the environment, beside the variables of its files \
         (`vars`, `group_vars/`, `host_vars/`, `--var`), Ansible's own (`groups`, `hostvars`, `inventory_hostname`, `play_hosts`, ...), the \
         facts of machines, and `secret('name')`: a secret of the file's `secrets`. A value that is nothing is `null`; a name that is not in \
         these tables is an error.\n",
    );
    section(&mut text, "", &schema);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        section(&mut text, name, definition);
    }
    page("templates.md", &text);
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
    use infra::{
        playbook::{
            BECOME_METHODS, CONNECTIONS, META, STRATEGIES, VARIABLES,
            keywords::{self, Support},
        },
        template::{FILTERS, JINJA_FILTERS, JINJA_TESTS, LOOKUPS, TESTS},
    };

    let says = |support: Support| match support {
        Support::Done => "done".to_owned(),
        Support::NoEffect(why) => format!("no effect: {why}"),
        Support::Refused(instead) => format!("refused: {instead}"),
    };
    let mut text = String::from(
        "# Playbooks\n\nPlaybooks have Ansible's format. What is not in these tables is an error with its place in the file, before any \
         host is touched; so is what is refused. What tasks can call is in [modules.md](modules.md).\n\n## Keywords\n\nThe keywords of \
         ansible-core 2.19, and what becomes of each.\n\n| keyword | what it says | where | what becomes of it |\n|---|---|---|---|\n",
    );
    let mut all: Vec<_> = keywords::all().collect();
    all.sort_by_key(|keyword| keyword.name);
    for keyword in all {
        for (places, support) in keyword.uses {
            let places: Vec<&str> = places.iter().map(|place| place.name()).collect();
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} |",
                keyword.name,
                keyword.about,
                places.join(", "),
                says(*support)
            );
        }
    }
    text.push_str(
        "\n## Connection variables\n\nThey come before the keywords, as in Ansible; for a delegated task those of the delegate count.\n\n\
         | variable | what becomes of it |\n|---|---|\n",
    );
    for (name, support) in VARIABLES {
        let _ = writeln!(text, "| `{name}` | {} |", says(*support));
    }
    let mut table = |title: &str, head: &str, rows: Vec<(&str, String)>| {
        let _ = write!(text, "\n## {title}\n\n| {head} | meaning |\n|---|---|\n");
        for (name, about) in rows {
            let _ = writeln!(text, "| `{name}` | {about} |");
        }
    };
    let named = |name: &'static str, about: &'static str| (name, about.to_owned());
    table("Connections", "`connection`", CONNECTIONS.iter().map(|one| named(one.name, one.about)).collect());
    table(
        "Becoming another user",
        "`become_method`",
        BECOME_METHODS.iter().map(|(name, about)| named(name, about)).collect(),
    );
    table("Strategies", "`strategy`", STRATEGIES.iter().map(|one| named(one.name, one.about)).collect());
    table("Words of `meta`", "`meta`", META.iter().map(|word| named(word.name, word.about)).collect());
    let options = |options: &[&str]| {
        let options: Vec<String> = options.iter().map(|option| format!("`{option}`")).collect();
        if options.is_empty() { String::new() } else { format!(" Takes {}.", options.join(", ")) }
    };
    let lookups = LOOKUPS.iter().map(|one| (one.name, format!("{}{}", one.about, options(one.options))));
    table("Lookups", "`lookup('...')`", lookups.collect());
    let jinja = JINJA_FILTERS.iter().filter(|(name, _)| FILTERS.iter().all(|filter| filter.name != *name));
    let mut filters: Vec<_> = FILTERS.iter().map(|one| named(one.name, one.about)).collect();
    filters.extend(jinja.map(|(name, about)| named(name, about)));
    filters.sort_unstable();
    table("Filters", "filter", filters);
    let mut tests: Vec<_> = TESTS.iter().map(|one| named(one.name, one.about)).collect();
    tests.extend(JINJA_TESTS.iter().map(|(name, about)| named(name, about)));
    tests.sort_unstable();
    table("Tests", "`is ...`", tests);
    page("playbooks.md", &text);
}

#[test]
fn docs_the_modules() {
    use infra::{
        modules::{Call, CheckMode},
        playbook::calls,
    };

    let check_mode = |call: &dyn Call| match call.check_mode() {
        CheckMode::Predicts => "says what it would change".to_owned(),
        CheckMode::Skips => "is skipped".to_owned(),
        CheckMode::SkipsUnless(arguments) => {
            format!("is skipped without `{}`", arguments.join("` or `"))
        }
        CheckMode::Runs => "runs as always, since it changes nothing on the host".to_owned(),
    };
    let mut text = String::from(
        "# Modules\n\nWhat a task can call, under its short name or with its collection: `copy` is `ansible.builtin.copy`. Any other name, and an \
         argument that is not listed, is an error with its place in the file, before any host is touched.\n",
    );
    for call in calls() {
        let _ = write!(text, "\n## `{}`\n\n{}\n\nCollection `{}`.", call.name(), call.about(), call.collection());
        let _ = write!(text, " In check mode it {}.", check_mode(call));
        if call.free_form() {
            text.push_str(" It takes a text instead of arguments.");
        }
        for pair in call.exclusive() {
            let names = pair.iter().map(|names| match names[0] {
                "" => "the text".to_owned(),
                name => format!("`{name}`"),
            });
            let _ = write!(text, " Only one of {} can be given.", names.collect::<Vec<_>>().join(", "));
        }
        text.push('\n');
        if call.takes_any_argument() {
            text.push_str("\nEvery other argument is taken too.\n");
        }
        if !call.arguments().is_empty() {
            text.push_str("\n| argument | value | meaning |\n|---|---|---|\n");
        }
        for argument in call.all_arguments() {
            let aliases: Vec<String> = argument.aliases.iter().map(|name| format!("`{name}`")).collect();
            let aliases = if aliases.is_empty() { String::new() } else { format!(", also {}", aliases.join(", ")) };
            let must = if argument.required { ", required" } else { "" };
            let idle = call.no_effect().iter().find(|(name, _)| *name == argument.name);
            let mut meaning = vec![argument.about.trim().replace('\n', " ")];
            meaning.extend(idle.map(|(_, why)| format!("No effect: {why}.")));
            meaning.extend((argument.default)().map(|value| format!("Default `{value}`.")));
            meaning.retain(|part| !part.is_empty());
            let form = argument.form.describe();
            let _ = writeln!(text, "| `{}`{aliases} | {form}{must} | {} |", argument.name, meaning.join(" "));
        }
    }
    text.push_str(
        "\nUnlike in Ansible, `uri` and `get_url` never follow a redirection from https to http, whatever `follow_redirects` says, and \
         send neither credentials nor a body to another origin than that of `url`.\n",
    );
    page("modules.md", &text);
}

/// What the tables of filters and tests list is there, and each has a line that says what it is.
#[test]
fn every_filter_and_test_that_is_listed_is_there() {
    use infra::template::{Authored, Engine, FILTERS, JINJA_FILTERS, JINJA_TESTS, Lookups, Scope, TESTS, Var};

    struct Empty;
    impl Scope for Empty {
        fn get(&self, _: &str) -> Option<Var> {
            None
        }

        fn lookups(&self) -> Lookups {
            Lookups::default()
        }
    }
    let (engine, scope) = (Engine::default(), std::sync::Arc::new(Empty) as std::sync::Arc<dyn Scope>);
    let filters = FILTERS.iter().map(|one| (one.name, one.about)).chain(JINJA_FILTERS.iter().copied());
    let tests = TESTS.iter().map(|one| (one.name, one.about)).chain(JINJA_TESTS.iter().copied());
    let all = filters.map(|one| (one, "filter")).chain(tests.map(|one| (one, "test")));
    for ((name, about), kind) in all {
        let found = engine.evaluate(&Authored::written(format!("'{name}' is {kind}")), &scope).unwrap();
        assert_eq!(found, Value::Bool(true), "there is no {kind} `{name}`");
        assert!(about.ends_with('.'), "{name}: {about}");
    }
}

/// `CONTRIBUTING.md` shows every line that names a module, an action and a filter outside its own file.
#[test]
fn docs_what_is_added_touches_these_lines_only() {
    let guide = std::fs::read_to_string(repository().join("CONTRIBUTING.md")).unwrap();
    let shown: Vec<&str> = guide.split("```diff\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let root = repository().join("src");
    let is_word = |line: &str, word: &str| {
        line.match_indices(word).any(|(at, _)| {
            let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            !joined(line[..at].chars().next_back()) && !joined(line[at + word.len()..].chars().next())
        })
    };
    for name in ["slurp", "wait_for_connection", "path_join"] {
        let shown = shown.iter().find(|diff| diff.lines().all(|line| line.starts_with("+++ ") || is_word(line, name)));
        let mut file = "";
        let mut wanted = Vec::new();
        for line in shown.unwrap_or_else(|| panic!("no diff shows `{name}`")).lines() {
            match line.strip_prefix("+++ src/") {
                Some(path) => file = path,
                None => wanted.push(format!("{file}: {}", line[1..].trim())),
            }
        }
        let mut found = Vec::new();
        for path in infra::files::walk(&root).unwrap() {
            let own = path.file_name().unwrap().to_string_lossy() == format!("{name}.rs");
            if !own && path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(root.join(&path)).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                let lines = code.lines().filter(|line| is_word(line, name));
                found.extend(lines.map(|line| format!("{}: {}", path.display(), line.trim())));
            }
        }
        wanted.sort();
        found.sort();
        assert_eq!(found, wanted, "the lines that name `{name}`");
    }
}
