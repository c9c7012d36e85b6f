//! Canaries: secrets that are looked for in every byte that is written or printed, in every form in which a program may write
//! them.

use std::process::Stdio;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE},
};

use crate::e2e::Dev;

/// Each has signs that JSON, XML, URLs, CI services and shells write otherwise; the third has several lines, as keys do, the
/// fourth one is in a script that a machine runs at its first boot, and the last one in a Compose file.
const CANARIES: [&str; 5] = [
    "kanarie-1/\"quoted\"+&?:end",
    "kanarie-2=ümlaut<tag>$x%y",
    "kanarie-3 \"first\" line & more\nkanarie-3 second%line of it",
    "kanarie-4-of-user-data",
    "kanarie-5-of-compose",
];

/// The forms that must never be seen.
fn forms(canary: &str) -> Vec<String> {
    let json = serde_json::to_string(canary).unwrap();
    let percent = |kept: &str| -> String {
        let plain =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || kept.as_bytes().contains(&byte);
        let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        canary.bytes().map(encode).collect()
    };
    let within = |before: &str| STANDARD_NO_PAD.encode(format!("{before}{canary}zzz"));
    // Of a longer text the letters in the middle depend on the canary alone.
    let middle = |text: String| text[6..text.len() - 8].to_owned();
    let twice = serde_json::to_string(json.trim_matches('"')).unwrap();
    let escape =
        |signs: &[(&str, &str)]| signs.iter().fold(canary.to_owned(), |text, (sign, by)| text.replace(sign, by));
    let xml = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")];
    let mut forms = vec![
        canary.to_owned(),
        canary.to_uppercase(),
        canary.to_lowercase(),
        twice.trim_matches('"').to_owned(),
        ascii(json.trim_matches('"')),
        escape(&xml),
        escape(&[&xml[..], &[("\"", "&quot;"), ("'", "&apos;")]].concat()),
        escape(&[&xml[..], &[("\"", "&#34;"), ("'", "&#39;")]].concat()),
        escape(&[("%", "%25"), ("\n", "%0A")]),
        escape(&[("%", "%25"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")]),
        canary.bytes().map(|byte| format!("{byte:02x}")).collect(),
        json.trim_matches('"').to_owned(),
        percent(""),
        percent("/"),
        STANDARD.encode(canary),
        STANDARD_NO_PAD.encode(canary),
        URL_SAFE.encode(canary),
        middle(within("a")),
        middle(within("ab")),
        middle(within("abc")),
    ];
    // Diffs, terminals and YAML show a text of several lines line by line.
    if canary.contains('\n') {
        forms.extend(canary.lines().flat_map(self::forms));
    }
    forms
}

/// JSON as Python writes it.
fn ascii(json: &str) -> String {
    let sign = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) };
    json.chars().map(sign).collect()
}

fn look(place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for canary in CANARIES {
        for form in forms(canary) {
            assert!(!text.contains(&form), "`{form}` is in {place}:\n{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_canaries_are_seen_nowhere() {
    let dev = Dev::with_file(
        "canary",
        "instances:\n  a:\n    network: {nat: true}\n    resources: {memory: 128M}\n    metadata:\n      docker-compose: \
         {file: compose.yml}\n      user-data: \"#!/bin/sh\\necho kanarie-4-of-user-data >/root/told\\n\"\nplaybooks: [site.yml]\n\
         secrets: {one: {env: CANARY_ONE}, certificate: {file: two.txt}, public: {file: three.txt}}\n\
         outputs: {dsn: \"postgres://u:{{ secret('one') | urlencode }}@h/d\", plain: \"{{ secret('certificate') }}\"}\n",
    );
    let play = r#"- hosts: all
  vars: {one: "{{ secret('one') }}", two: "{{ secret('certificate') }}", three: "{{ secret('public') }}"}
  tasks:
    - name: told by name
      debug: {msg: "{{ one }} and {{ two }}"}
    - name: "in a title {{ two }}"
      debug: {var: one}
    - name: in a file, whose change is shown
      copy: {content: "a={{ one }}\nb={{ two | b64encode }}\nc={{ ('user:' ~ one) | b64encode }}\n", dest: /tmp/secrets}
    - name: printed by a program, in two pieces
      shell: |
        printf %s "$(printf %s "$ONE" | cut -c1-7)"; sleep 0.2; printf %s "$ONE" | cut -c8-
        printf %s "$TWO" | base64 -w0 >&2
      environment: {ONE: "{{ one }}", TWO: "{{ two }}"}
      register: printed
    - debug: {var: printed}
    - debug: {msg: "{{ one | upper }} {{ two | lower }} {{ three }} {{ three | b64encode }} {{ one | to_json | to_json }}"}
    - debug: {msg: "{{ two | e }} {{ three | urlencode }} {{ {'a': printed | to_json} | to_nice_json }}"}
    - copy: {content: "{{ three }}\\n", dest: /tmp/key}
    - slurp: {src: /tmp/key}
      register: slurped
    - debug: {var: slurped}
    - shell: base64 /tmp/key; od -An -tx1 /tmp/key | tr -d ' \\n'; cat /tmp/key
      register: printed
    - debug: {var: printed.stdout_lines}
    - debug: {msg: "{{ printed | to_json }} {{ {'a': two} | to_json }} {{ two | urlencode }}"}
    - name: in an error
      shell: printf '%s' "$ONE$TWO" >&2; exit 3
      environment: {ONE: "{{ one }}", TWO: "{{ two }}"}
"#;
    dev.sandbox.write(&format!("envs/{}/site.yml", dev.name), play);
    dev.sandbox.write(&format!("envs/{}/two.txt", dev.name), CANARIES[1]);
    dev.sandbox.write(&format!("envs/{}/three.txt", dev.name), CANARIES[2]);
    let compose = format!("services: {{app: {{image: app, environment: {{PASSWORD: {}}}}}}}\n", CANARIES[4]);
    dev.sandbox.write(&format!("envs/{}/compose.yml", dev.name), &compose);
    // The files that they come from are the user's own.
    let own = ["two.txt", "three.txt", "config.yaml", "compose.yml"]
        .map(|file| dev.sandbox.path(&format!("envs/{}/{file}", dev.name)));
    let mut printed = Vec::new();
    let mut run = |arguments: &[&str], code: i32| {
        let mut all = vec![arguments[0], dev.name.as_str()];
        all.extend(&arguments[1..]);
        let mut command = dev.sandbox.command(&all);
        command.env("CANARY_ONE", CANARIES[0]).env("GITHUB_ACTIONS", "true").stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {said}{}",
            String::from_utf8_lossy(&output.stdout)
        );
        printed.push((format!("what {arguments:?} printed"), output.stdout));
        printed.push((format!("what {arguments:?} said"), output.stderr));
    };
    run(&["plan", "--out", "plan.bin", "--var", &format!("given={}", CANARIES[0])], 0);
    run(&["apply", "--yes", "--diff", "--junit", "junit.xml"], 1);
    run(&["apply", "--yes", "--json", "--diff"], 1);
    run(&["history"], 0);
    run(&["trace"], 0);
    run(&["graph"], 0);
    run(&["graph", "--format", "dot"], 0);
    run(&["plan", "--json", "--replace", "vm.a"], 0);
    run(&["plan", "--destroy"], 0);
    run(&["output"], 0);
    run(&["output", "--json"], 0);
    run(&["inventory", "--list"], 0);
    let pulled = dev.sandbox.command(&["state", "pull", &dev.name]).output().unwrap();
    look("the state", &pulled.stdout);
    let shown = dev.sandbox.command(&["state", "show", &dev.name, "vm.a"]).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("[secret]"), "user-data is a field of the state");
    look("a resource", &shown.stdout);
    for (place, bytes) in &printed {
        look(place, bytes);
    }
    let each_file = |look: &dyn Fn(&str, &[u8])| {
        let files = infra::files::walk(dev.sandbox.folder.path()).unwrap();
        let files: Vec<_> = files.iter().filter(|file| !own.contains(&dev.sandbox.folder.path().join(file))).collect();
        for file in &files {
            look(&file.display().to_string(), &std::fs::read(dev.sandbox.folder.path().join(file)).unwrap());
        }
        files.len()
    };
    let files = each_file(&look);
    assert!(files > 6, "only {files} files were looked at");
    // What is asked for by name is given as it is.
    let mut command = dev.sandbox.command(&["output", &dev.name, "plain"]);
    let asked = command.env("CANARY_ONE", CANARIES[0]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&asked.stdout).trim(), CANARIES[1]);
    // A login of the user's own programs leaves a private key in a file for as long as the environment exists.
    dev.run(&["ssh", "a", "--", "true"], 0).silent();
    dev.run(&["destroy", "--yes"], 0).silent();
    each_file(&|file, bytes| {
        look(file, bytes);
        assert!(!String::from_utf8_lossy(bytes).contains("PRIVATE KEY"), "{file} holds a private key after destroy");
    });
}
