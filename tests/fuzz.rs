//! Fuzz targets: whatever stands in a file, in a template, on a command line or in a state document is answered, with a value or
//! with an error. No panic, no hang (work is counted, not timed), and no overflow: each target runs on a thread with a small
//! stack. The seeds of `fuzz/<target>/` are replayed as they are, then mutated; what was found once is a seed.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use infra::{
    config::{LoadOptions, StateSettings, load_source},
    error::Result,
    modules::{Arguments, Folder, Rendered, Sources, find},
    playbook::{Loader, SearchPath},
    remote::{CHANGE_LIMIT, Feed, Script, Shell, Shells},
    state::Store,
    template::{Authored, Engine, Layout, Scope, Var},
    yaml::{Source, dump, parse},
};
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Map, json};
use tokio::io::AsyncReadExt;

use crate::{hostile, support::repository};

/// Half of what a thread of tokio has: what runs the engine needs some stack, too.
const STACK: usize = 1 << 20;

/// Runs a target on each seed, on texts that are nested deeply, and on mutations of the seeds.
fn fuzz(target: &'static str, alphabet: &'static [&'static str], cases: u32, run: fn(&str)) {
    let folder = repository().join("tests/fuzz").join(target);
    let seeds: Vec<String> = infra::files::walk(&folder)
        .unwrap()
        .into_iter()
        .map(|file: PathBuf| std::fs::read_to_string(folder.join(file)).unwrap())
        .collect();
    assert!(!seeds.is_empty(), "`{target}` has no seeds");
    let thread = std::thread::Builder::new().name(target.to_owned()).stack_size(STACK).spawn(move || {
        for seed in &seeds {
            run(seed);
        }
        let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
        // The same texts at each run: what fails here fails for everybody.
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let edit = (
            any::<prop::sample::Index>(),
            0..12_usize,
            prop::collection::vec(prop::sample::select(alphabet), 0..4),
            1..40_usize,
        );
        let mutated = (prop::sample::select(seeds), prop::collection::vec(edit, 1..6)).prop_map(|(mut text, edits)| {
            for (at, length, words, times) in edits {
                let mut from = at.index(text.len() + 1);
                while !text.is_char_boundary(from) {
                    from -= 1;
                }
                let mut to = (from + length).min(text.len());
                while !text.is_char_boundary(to) {
                    to -= 1;
                }
                // A piece of the text itself, or words of the language, some of them often.
                let piece =
                    if words.is_empty() { text[from..to].repeat(times) } else { words.concat().repeat(times / 8 + 1) };
                text.replace_range(from..to, &piece);
            }
            text
        });
        let answered = runner.run(&mutated, |text| {
            run(&text);
            Ok(())
        });
        answered.unwrap_or_else(|error| panic!("{error}"));
    });
    thread
        .unwrap()
        .join()
        .unwrap_or_else(|_| panic!("`{target}` failed: keep the text as a seed in tests/fuzz/{target}"));
}

/// Texts of which each grows without an end.
fn deep(target: &'static str, texts: fn(usize) -> Vec<String>, run: fn(&str)) {
    let thread = std::thread::Builder::new().name(target.to_owned()).stack_size(STACK).spawn(move || {
        for count in [30, 200, 1000, 20_000] {
            for text in texts(count) {
                run(&text);
            }
        }
    });
    thread.unwrap().join().unwrap_or_else(|_| panic!("`{target}` fails on what is nested deeply"));
}

fn yaml(text: &str) {
    let source = Source::new("envs/dev/config.yaml", text);
    if let Ok((node, _)) = parse(&source) {
        // What was read is written so that it reads the same.
        let value = node.to_value();
        let written = dump(&value, &infra::yaml::Style::default());
        let again = parse(&Source::new("again", written.as_str())).unwrap_or_else(|error| panic!("{error}\n{written}"));
        assert_eq!(again.0.to_value(), value, "{written}");
    }
    let _ = load_source(&source, &LoadOptions::default());
}

#[test]
fn yaml_is_answered() {
    let words = &[
        ": ",
        "- ",
        "\n",
        "\n  ",
        "\t",
        "[",
        "]",
        "{",
        "}",
        ",",
        "#",
        "&a ",
        "*a",
        "<<: ",
        "|\n",
        ">\n",
        "'",
        "\"",
        "\\",
        "? ",
        "!unsafe ",
        "!!str ",
        "---\n",
        "...\n",
        "~",
        "0x",
        "1:2",
        ".inf",
        "2024-01-02",
        "é",
        "\u{85}",
        "\u{feff}",
        "%",
    ];
    fuzz("yaml", words, 600, yaml);
}

#[test]
fn deep_yaml_is_answered() {
    let texts = |n: usize| {
        let lines = |n: usize| (0..n).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>();
        vec![
            "[".repeat(n),
            "{a: ".repeat(n),
            "- ".repeat(n),
            "? ".repeat(n),
            "&a ".repeat(n),
            "!a ".repeat(n),
            "[{".repeat(n),
            "'".repeat(n),
            "- &a [*a]\n".repeat(n.min(1000)),
            format!("{}{}", "[".repeat(n), "]".repeat(n)),
            lines(n.min(1000)),
        ]
    };
    deep("yaml", texts, yaml);
}

/// Variables of every kind, some of which refer to themselves.
struct Variables;

impl Scope for Variables {
    fn get(&self, name: &str) -> Option<Var> {
        let written = |value| Some(Var::template(Authored::written(value)));
        match name {
            "a" => written(json!({"b": {"c": "{{ s }}"}, "l": [1, "{{ a.l }}", {"k": null}], "x": "{{ a }}"})),
            "s" => written(json!("text {{ n }} é")),
            "n" => written(json!(7)),
            "self" => written(json!("{{ self }}{{ self }}")),
            "vars" => Some(Var::scope(&Engine::default(), &(Arc::new(Self) as Arc<dyn Scope>))),
            "d" => Some(Var::data(json!(["{{ n }}", {"k": "{% if n %}"}, 1.5, true]))),
            _ => None,
        }
    }

    fn names(&self) -> Vec<String> {
        ["a", "s", "n", "d"].map(String::from).into()
    }
}

fn template(text: &str) {
    thread_local! {
        static ENGINE: Engine = Engine::default();
    }
    let scope: Arc<dyn Scope> = Arc::new(Variables);
    ENGINE.with(|engine| {
        let written = Authored::written(text.to_owned());
        let _ = engine.resolve_text(&written, &scope);
        let _ = engine.evaluate(&written, &scope);
        let _ = engine.condition(&Authored::written(json!(text)), &scope);
        let _ = engine.check(text);
        let _ = engine.check_condition(text);
        let _ = engine.names(text);
        let _ = engine.names_of_expression(text);
        let _ = engine.render_file(std::path::Path::new("t.j2"), text, &scope);
    });
}

#[test]
fn templates_are_answered() {
    let words = &[
        "{{ ",
        " }}",
        "{% ",
        " %}",
        "{%- ",
        "-%}",
        "{# ",
        " #}",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "\\",
        " | ",
        ".b",
        "['b']",
        "[0]",
        "[1:]",
        " + ",
        " ~ ",
        " * ",
        " ** ",
        " // ",
        " % ",
        " - ",
        " not ",
        " and ",
        " or ",
        " in ",
        " is ",
        " if ",
        " else ",
        " == ",
        " < ",
        ",",
        ":",
        "=",
        "a",
        "s",
        "n",
        "d",
        "self",
        "vars",
        "nope",
        "omit",
        "0",
        "9999999999999999999",
        "-1",
        "1.5",
        "default('x')",
        "d()",
        "map('upper')",
        "list",
        "int(base=16)",
        "int",
        "join(',')",
        "combine({'k': 1})",
        "regex_replace('(a+)+$', '\\\\1')",
        "indent(9)",
        "to_nice_yaml",
        "to_json",
        "from_yaml",
        "dict2items",
        "format(1)",
        "range(9)",
        "for x in d",
        "endfor",
        "if a",
        "elif n",
        "endif",
        "set x = ",
        "macro m(x)",
        "endmacro",
        "raw",
        "endraw",
        "include 't.j2'",
        "lookup('vars', 's')",
        "loop.index",
        "defined",
        "match('a')",
        "version('1', '<')",
        "é",
        "\n",
    ];
    fuzz("template", words, 1200, template);
}

#[test]
fn deep_templates_are_answered() {
    let texts = |n: usize| {
        let mut expressions = vec![
            format!("{}1{}", "(".repeat(n), ")".repeat(n)),
            format!("{}{}", "[".repeat(n), "]".repeat(n)),
            "[".repeat(n),
            format!("{}1{}", "{'a': ".repeat(n), "}".repeat(n)),
            format!("{}n", "not ".repeat(n)),
            format!("{}n", "-".repeat(n)),
            format!("{}n", "- ".repeat(n)),
            format!("a{}", ".b".repeat(n)),
            format!("a{} is defined", ".b".repeat(n)),
            format!("a{} | default(1)", "['b']".repeat(n)),
            format!("a{}", "[0]".repeat(n)),
            format!("s{}", " | upper".repeat(n)),
            format!("s{}", " ~ s".repeat(n)),
            format!("n{}", " + n".repeat(n)),
            format!("n{}", " ** n".repeat(n)),
            format!("n{}", " and n".repeat(n)),
            format!("n{}", " < n".repeat(n)),
            format!("n{}", " if n else n".repeat(n)),
            format!("n{}", " is defined".repeat(n)),
            format!("{}1{}", "a(".repeat(n), ")".repeat(n)),
            format!("{}1{}", "a[".repeat(n), "]".repeat(n)),
            format!("{}1{}", "n + (".repeat(n), ")".repeat(n)),
            format!("{}1{}", "(n, ".repeat(n), ")".repeat(n)),
            format!("s{}", "[1:]".repeat(n)),
            format!("[{}]", "1, ".repeat(n)),
            format!("'{}", "\\'".repeat(n)),
        ];
        let blocks = vec![
            "{{ ".repeat(n),
            "{% if n %}".repeat(n),
            format!("{{% if n %}}{}{{% endif %}}", "{% elif n %}x".repeat(n)),
            format!("{}{}", "{% for x in [] %}".repeat(n), "{% endfor %}".repeat(n)),
            format!("{}{}", "{% if n %}".repeat(n), "{% endif %}".repeat(n)),
            format!("{}{}", "{% set x %}".repeat(n), "{% endset %}".repeat(n)),
            format!("{}{}", "{% with %}".repeat(n), "{% endwith %}".repeat(n)),
            format!("{}{}", "{% filter upper %}".repeat(n), "{% endfilter %}".repeat(n)),
            format!("{}{}", "{% macro m() %}".repeat(n), "{% endmacro %}".repeat(n)),
            "{# ".repeat(n),
            "{% raw %}".repeat(n),
            format!("{{{{ n }}}}{}", "{{ s }}".repeat(n.min(1000))),
        ];
        let braces: Vec<String> = expressions.iter().map(|text| format!("{{{{ {text} }}}}")).collect();
        let quoted: Vec<String> = expressions.iter().map(|text| format!("'{{{{ {text} }}}}' == s")).collect();
        expressions.extend(braces.into_iter().chain(quoted).chain(blocks));
        expressions
    };
    deep("template", texts, template);
}

struct NoFiles;

impl Sources for NoFiles {
    fn file(&self, name: &str) -> Result<Bytes> {
        Ok(Bytes::copy_from_slice(name.as_bytes()))
    }

    fn folder(&self, _: &str) -> Result<Option<Folder>> {
        Ok(None)
    }

    fn mode(&self, _: &str) -> Result<Option<u32>> {
        Ok(None)
    }

    fn template(&self, _: &str, _: Layout) -> Result<Rendered> {
        Ok(Rendered::default())
    }
}

fn arguments(text: &str) {
    let loader = Loader::new(SearchPath::default(), Engine::default());
    for module in ["command", "copy", "file", "debug", "set_fact"] {
        let _ = loader.ad_hoc(module, text, false);
    }
    for module in ["command", "shell"] {
        let module = find(module).unwrap();
        let prepared = module.prepare(&Arguments { named: &Map::new(), free_form: Some(text), sources: &NoFiles });
        if let Ok(operation) = prepared {
            let _ = operation.probe();
        }
    }
}

#[test]
fn arguments_are_answered() {
    let words = &[
        "=", " ", "'", "\"", "\\", "{{ ", " }}", "{% ", " %}", "{", "}", "src=", "dest=", "creates=", "content=",
        "a=b", "$HOME", "${", "`", "\n", "#", "é", ":",
    ];
    fuzz("arguments", words, 300, arguments);
}

#[test]
fn deep_arguments_are_answered() {
    let texts = |n: usize| {
        let n = n.min(5000);
        vec![
            "{{ ".repeat(n),
            "a=".repeat(n),
            "a=b ".repeat(n),
            "'".repeat(n),
            "\\".repeat(n),
            "{%".repeat(n),
            "${".repeat(n),
            "\"'".repeat(n),
        ]
    };
    deep("arguments", texts, arguments);
}

/// Two scripts whose answer is this text: `MARK` is the mark of the request, after `SWITCH` comes the other stream.
fn framing(text: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let answered = runtime.block_on(async {
        let (shells, scripts) = (Shells::default(), ["one", "two"].map(|text| Script::change(text, CHANGE_LIMIT)));
        let open = || async {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let (shell, feed) = Shell::new(ours, None)?;
            tokio::spawn(answer(theirs, feed, text.to_owned()));
            Ok(shell)
        };
        tokio::time::timeout(Duration::from_hours(24), shells.run(None, &scripts, open)).await
    });
    if let Ok(outputs) = answered.expect("every wait has an end") {
        assert_eq!(outputs.len(), 2, "{text:?}");
    }
}

/// A shell that greets as it should, and then says something else.
async fn answer(mut input: tokio::io::DuplexStream, feed: Feed, says: String) {
    let (mut asked, mut buffer) = (String::new(), vec![0; 1 << 16]);
    loop {
        let count = tokio::select! {
            count = input.read(&mut buffer) => count.unwrap_or(0),
            () = feed.closed() => return,
        };
        asked += &String::from_utf8_lossy(&buffer[..count]);
        if count == 0 {
            return feed.end(Some(0));
        }
        while let Some((line, rest)) = asked.split_once('\n').map(|(line, rest)| (line.to_owned(), rest.to_owned())) {
            asked = rest;
            if let Some(mark) = hostile::greeting(&line) {
                let sign = format!("\n{mark}g\n");
                let _ = feed.out(sign.as_bytes()) && feed.err(sign.as_bytes());
            } else if let Some(mark) = hostile::mark(&line, "printf '\\n%s\\n' ", "g && ") {
                for (at, part) in says.replace("MARK", mark).split("SWITCH").enumerate() {
                    // In pieces, as a network brings it.
                    for piece in part.as_bytes().chunks(7) {
                        let _ = if at % 2 == 0 { feed.out(piece) } else { feed.err(piece) };
                        tokio::task::yield_now().await;
                    }
                }
                return feed.end(Some(0));
            }
        }
    }
}

#[test]
fn framing_is_answered() {
    let words =
        &["MARK", "SWITCH", "\n", "0", "1", "g", "-", "x", " ", "\0", "\r", "--", ":", "é", "MARK0\n", "\nMARKg\n"];
    fuzz("framing", words, 400, framing);
}

#[test]
fn deep_framing_is_answered() {
    let texts = |n: usize| {
        vec![
            "\n".repeat(n),
            "MARK".repeat(n),
            "\nMARK0\n".repeat(n),
            "\nMARKg\n".repeat(n),
            format!("SWITCH{}", "\nMARK\n".repeat(n)),
        ]
    };
    deep("framing", texts, framing);
}

fn state(text: &str) {
    let folder = std::env::temp_dir().join("infra-fuzz-state");
    let store = Store::open(&folder, &"dev".parse().unwrap(), &StateSettings::default()).unwrap();
    if let Ok(Some(state)) = store.parse(text) {
        // What is read is written so that it reads the same.
        let written = serde_json::to_string(&state).unwrap();
        let again = store.parse(&written).unwrap_or_else(|error| panic!("{error}\n{written}")).unwrap();
        assert_eq!(serde_json::to_value(&again).unwrap(), serde_json::to_value(&state).unwrap());
    }
}

#[test]
fn state_documents_are_answered() {
    let words = &[
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "null",
        "true",
        "-1",
        "1e999",
        "18446744073709551616",
        "\"version\": 99",
        "\"fence\": 1",
        "\"encrypted\": \"x\"",
        "\"environment\": \"dev\"",
        "\"vm.a\"",
        "\"resources\"",
        "\\u0000",
        "\\ud800",
        "é",
    ];
    fuzz("state", words, 600, state);
}

#[test]
fn deep_state_documents_are_answered() {
    let texts =
        |n: usize| vec!["[".repeat(n), "{\"a\":".repeat(n), format!("{{\"resources\":{}", "{\"vm.a\":".repeat(n))];
    deep("state", texts, state);
}
