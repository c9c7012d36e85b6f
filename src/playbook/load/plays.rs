//! Plays: their keywords, sections and hosts.

use std::{
    path::{Path, PathBuf},
    slice::from_ref,
};

use super::{Collect, Loader, flatten, keywords::Place, list, texts};
use crate::{
    error::Result,
    files,
    modules::short_name,
    playbook::model::{Common, Entry, Play, Symbols},
    template::{Authored, Vars, is_template},
    yaml::{Content, Key, Node},
};

/// How the hosts of a play go through it.
#[derive(Clone, Copy, Debug)]
pub struct Strategy {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    is_free: bool,
}

/// What `strategy` can be.
pub const STRATEGIES: &[Strategy] = &[
    Strategy { name: "free", about: "Each host goes on as soon as it can.", is_free: true },
    Strategy { name: "host_pinned", about: "The same as `free`.", is_free: true },
    Strategy { name: "linear", about: "All hosts end a task before one begins the next.", is_free: false },
];

/// What the imports around a playbook say, and which playbooks they are in.
pub(super) struct Imported {
    common: Common,
    stack: Vec<PathBuf>,
}

impl Imported {
    /// Around the playbooks of the command line.
    pub(super) fn outermost(r#become: bool) -> Self {
        Self { common: Common { r#become: r#become.then(|| true.into()), ..Common::default() }, stack: Vec::new() }
    }
}

impl Loader {
    /// The plays of a file, and of those that it imports. `outer` is what the imports around it say.
    pub(super) fn playbook(&self, path: &Path, outer: &Imported, plays: &mut Vec<Play>) -> Result<()> {
        let node = self.read(path);
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let Some(items) = node.items() else {
            if !matches!(node.content, Content::Null) {
                self.mistake(node.error("a playbook is a list of plays"));
            }
            return Ok(());
        };
        for item in items {
            let is_import = |(key, _): &&(Key, Node)| short_name(&key.name) == "import_playbook";
            match item.entries().and_then(|entries| Some((entries, entries.iter().find(is_import)?))) {
                Some((entries, (key, import))) => {
                    self.import_playbook(path, (key, import), entries, outer, plays)?;
                }
                None => plays.extend(self.play(item, &folder, outer)?),
            }
        }
        Ok(())
    }

    fn import_playbook(
        &self, path: &Path, (key, import): (&Key, &Node), entries: &[(Key, Node)], outer: &Imported,
        plays: &mut Vec<Play>,
    ) -> Result<()> {
        let keywords: Vec<(Key, Node)> = entries.iter().filter(|(other, _)| other.name != key.name).cloned().collect();
        self.allow(&keywords, Place::ImportPlaybook);
        let name = import.as_str().unwrap_or_default();
        let mut folders = vec![path.parent().unwrap_or(Path::new(".")).to_owned()];
        folders.extend(self.search.playbooks.iter().cloned());
        let Some(found) = files::find(&folders, Path::new(name)) else {
            self.mistake(import.error(format!("there is no playbook `{name}`")));
            return Ok(());
        };
        let mut stack = outer.stack.clone();
        stack.push(path.to_owned());
        if stack.contains(&found) {
            self.mistake(import.error(format!("the playbook `{name}` imports itself")));
            return Ok(());
        }
        self.playbook(&found, &Imported { common: self.common(&keywords, &outer.common), stack }, plays)
    }

    fn play(&self, node: &Node, folder: &Path, outer: &Imported) -> Result<Option<Play>> {
        let Some(entries) = node.entries() else {
            self.mistake(node.error(format!("a play is a mapping, this is {}", node.kind())));
            return Ok(None);
        };
        self.allow(entries, Place::Play);
        let hosts = node.get("hosts").map(texts).unwrap_or_default();
        if hosts.is_empty() {
            self.mistake(node.error("a play needs `hosts`"));
        }
        drop(self.take_symbols());
        let mut play = Play {
            name: node.get("name").and_then(Node::as_str).map_or_else(|| hosts.join(","), str::to_owned),
            hosts,
            hosts_mark: node.get("hosts").map_or(&node.mark, |hosts| &hosts.mark).clone(),
            gather_facts: node.get("gather_facts").is_none_or(|node| crate::template::is_true(&node.to_value())),
            free: node.get("strategy").is_some_and(|node| self.is_free(node)),
            serial: node.get("serial").map(texts).unwrap_or_default(),
            max_fail_percentage: node.get("max_fail_percentage").map(Authored::node),
            force_handlers: node.get("force_handlers").map(Authored::node),
            vars: node
                .get("vars")
                .and_then(Node::entries)
                .map(|entries| Authored::entries(entries).into())
                .unwrap_or_default(),
            vars_files: node.get("vars_files").map(list).unwrap_or_default(),
            sections: Vec::new(),
            handlers: Vec::new(),
            roles: Vec::new(),
            common: Common::default(),
            beside: self.beside(folder)?,
            folder: folder.to_owned(),
            symbols: Symbols::default(),
            mark: node.mark.clone(),
        };
        let common = self.common(entries, &outer.common);
        // The variables of an import come before those of the play.
        play.vars.extend(outer.common.vars.clone());
        let common = Common { vars: Vars::default(), ..common };
        let mut collect = Collect { once: true, ..Collect::default() };
        let section = |key: &str, collect: &mut Collect| -> Result<Vec<Entry>> {
            node.get(key).map_or_else(|| Ok(Vec::new()), |node| self.entries(node, &common, folder, collect))
        };
        // They are read in the order in which they run: a role that has been imported by tasks does not stand for one of `roles`.
        let before = section("pre_tasks", &mut collect)?;
        let mut middle = Vec::new();
        for item in node.get("roles").and_then(Node::items).unwrap_or_default() {
            middle.extend(self.role_entry(item, &common, folder, &mut collect)?);
        }
        middle.extend(section("tasks", &mut collect)?);
        play.sections = vec![before, middle, section("post_tasks", &mut collect)?];
        if let Some(handlers) = node.get("handlers") {
            let entries = self.handlers(handlers, &common, folder, &mut collect)?;
            flatten(&entries, &mut collect.handlers);
        }
        self.defines(play.vars.keys());
        for file in node.get("vars_files").into_iter().flat_map(|files| files.items().unwrap_or(from_ref(files))) {
            self.vars_file(file, folder);
        }
        play.symbols = self.take_symbols();
        play.common = common;
        play.handlers = collect.handlers;
        play.roles = collect.roles;
        Ok(Some(play))
    }
}

impl Loader {
    /// A file of variables whose name is known; of a list of names the first that exists is taken.
    fn vars_file(&self, node: &Node, folder: &Path) {
        let names: Vec<&str> =
            node.items().unwrap_or(from_ref(node)).iter().map(|name| name.as_str().unwrap_or_default()).collect();
        if names.iter().any(|name| is_template(name)) {
            return self.is_open();
        }
        match names.iter().find_map(|name| files::find(from_ref(&folder.to_owned()), Path::new(name))) {
            None => self.lacks(node.error(format!("there is no variables file `{}`", names.join("` or `")))),
            Some(path) => {
                let vars = self.read(&path);
                self.variables(&vars);
                self.defines(vars.entries().unwrap_or_default().iter().map(|(key, _)| &key.name));
            }
        }
    }

    /// Whether hosts go at their own pace.
    fn is_free(&self, node: &Node) -> bool {
        let name = node.as_str().unwrap_or_default();
        let known = STRATEGIES.iter().find(|known| known.name == short_name(name));
        if known.is_none() {
            self.mistake(node.error(format!("`strategy: {name}` is not supported")).hint("use `linear` or `free`"));
        }
        known.is_some_and(|known| known.is_free)
    }
}
