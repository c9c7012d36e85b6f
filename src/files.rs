//! Files of the project and of the program: what an environment does not bring, the binary has.
//!
//! A path below [`BUILTIN`] is a file that is part of the binary; all others lie on the disk.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use rust_embed::RustEmbed;

use crate::error::{Context, Error, Result};

/// The root of the files within the binary.
pub const BUILTIN: &str = "<builtin>";

#[derive(RustEmbed)]
#[folder = "playbooks/"]
#[prefix = "playbooks/"]
struct Playbooks;

#[derive(RustEmbed)]
#[folder = "templates/"]
#[prefix = "templates/"]
struct Templates;

fn embedded(name: &str) -> Option<Cow<'static, [u8]>> {
    Playbooks::get(name).or_else(|| Templates::get(name)).map(|file| file.data)
}

fn embedded_names() -> impl Iterator<Item = Cow<'static, str>> {
    Playbooks::iter().chain(Templates::iter())
}

/// The path of a file within the binary.
#[must_use]
pub fn builtin(path: &str) -> PathBuf {
    Path::new(BUILTIN).join(path)
}

/// The same path without `.` and `..`, as far as they can be resolved without the disk.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            other => normal.push(other),
        }
    }
    normal
}

fn inside(path: &Path) -> Option<String> {
    let path = normal(path);
    path.strip_prefix(BUILTIN).ok().map(|path| path.to_string_lossy().into_owned())
}

/// Whether there is such a file.
#[must_use]
pub fn is_file(path: &Path) -> bool {
    match inside(path) {
        Some(name) => embedded(&name).is_some(),
        None => path.is_file(),
    }
}

/// Whether there is such a folder.
#[must_use]
pub fn is_dir(path: &Path) -> bool {
    match inside(path) {
        Some(name) => embedded_names().any(|file| file.strip_prefix(&name).is_some_and(|rest| rest.starts_with('/'))),
        None => path.is_dir(),
    }
}

/// The bytes of a file.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<Cow<'static, [u8]>> {
    match inside(path) {
        Some(name) => {
            embedded(&name).ok_or_else(|| Error::new(format!("there is no `{name}` among the built-in files")))
        }
        None => std::fs::read(path).map(Cow::Owned).context(|| format!("cannot read `{}`", path.display())),
    }
}

/// The mode of a file; files within the binary have none.
#[must_use]
pub fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;

    if inside(path).is_some() {
        return None;
    }
    path.metadata().ok().map(|metadata| metadata.permissions().mode() & 0o7777)
}

/// The text of a file.
///
/// # Errors
/// When it cannot be read or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?.into_owned())
        .map_err(|_| Error::new(format!("`{}` is not UTF-8 text", path.display())))
}

/// The files of `group_vars/` or `host_vars/`, by the group or host that they are for: its file, or all files of its folder.
/// A folder comes before a file of its name, as in Ansible.
///
/// # Errors
/// When a folder cannot be read.
pub fn vars_files(folder: &Path) -> Result<BTreeMap<String, Vec<PathBuf>>> {
    let mut found: BTreeMap<String, (usize, Vec<PathBuf>)> = BTreeMap::new();
    for file in if is_dir(folder) { walk(folder)? } else { Vec::new() } {
        let parts: Vec<String> = file.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let extension = file.extension().unwrap_or_default().to_string_lossy().into_owned();
        let Some(rank) = ["", "yml", "yaml", "json"].iter().position(|known| *known == extension) else { continue };
        if parts.iter().any(|part| part.starts_with('.') || part.ends_with('~')) {
            continue;
        }
        let (name, rank) = match parts.as_slice() {
            [_] => (file.file_stem().unwrap_or_default().to_string_lossy().into_owned(), rank),
            [name, ..] => (name.clone(), 0),
            [] => continue,
        };
        let known = found.entry(name).or_insert_with(|| (rank, Vec::new()));
        if rank < known.0 {
            *known = (rank, Vec::new());
        }
        if rank == known.0 {
            known.1.push(folder.join(file));
        }
    }
    Ok(found.into_iter().map(|(name, (_, files))| (name, files)).collect())
}

/// What is below a folder, as sorted paths relative to it.
#[derive(Debug, Default)]
pub struct Tree {
    /// The files.
    pub files: Vec<PathBuf>,
    /// The folders, the outer ones before what they hold.
    pub folders: Vec<PathBuf>,
}

/// The files below a folder, relative to it, sorted.
///
/// # Errors
/// When a folder cannot be read.
pub fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    tree(folder).map(|tree| tree.files)
}

/// The files and folders below a folder.
///
/// # Errors
/// When a folder cannot be read.
pub fn tree(folder: &Path) -> Result<Tree> {
    let mut found = Tree::default();
    if let Some(name) = inside(folder) {
        let names =
            embedded_names().filter_map(|file| Some(PathBuf::from(file.strip_prefix(&name)?.strip_prefix('/')?)));
        found.files.extend(names);
        let above = |file: &PathBuf| file.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>();
        found.folders = found.files.iter().flat_map(above).filter(|path| !path.as_os_str().is_empty()).collect();
    } else {
        // With each folder go the real folders that links on the way to it were in, and led to.
        let mut folders = vec![(PathBuf::new(), vec![real(folder)?])];
        while let Some((inner, way)) = folders.pop() {
            let path = folder.join(&inner);
            for entry in std::fs::read_dir(&path).context(|| format!("cannot read `{}`", path.display()))? {
                let entry = entry?;
                let relative = inner.join(entry.file_name());
                let target = entry.path();
                if !target.is_dir() {
                    found.files.push(relative);
                    continue;
                }
                found.folders.push(relative.clone());
                if entry.file_type()?.is_symlink() {
                    let (holder, leads_to) = (real(&path)?, real(&target)?);
                    let mut way = way.clone();
                    way.push(holder);
                    if way.iter().any(|folder| folder.starts_with(&leads_to)) {
                        return Err(Error::new(format!(
                            "the link `{}` leads to a folder that holds it",
                            target.display()
                        ))
                        .hint("remove it, or let it lead to the files that are meant"));
                    }
                    way.push(leads_to);
                    folders.push((relative, way));
                } else {
                    folders.push((relative, way.clone()));
                }
            }
        }
    }
    found.files.sort();
    found.folders.sort();
    found.folders.dedup();
    Ok(found)
}

/// A path without links.
fn real(path: &Path) -> Result<PathBuf> {
    path.canonicalize().context(|| format!("cannot read `{}`", path.display()))
}

/// The first folder's file of this name; an absolute name is looked for as it is.
#[must_use]
pub fn find(folders: &[PathBuf], name: &Path) -> Option<PathBuf> {
    if name.is_absolute() || name.starts_with(BUILTIN) {
        return is_file(name).then(|| name.to_owned());
    }
    folders.iter().map(|folder| folder.join(name)).find(|path| is_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_follows_links_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(folder.path().join("elsewhere")).unwrap();
        std::fs::write(folder.path().join("elsewhere/file"), "x").unwrap();
        std::os::unix::fs::symlink("../elsewhere", root.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();
        assert_eq!(walk(&root).unwrap(), [PathBuf::from("dangling"), PathBuf::from("link/file")]);
        for target in ["..", "/", "../a"] {
            let link = root.join("a/b/loop");
            std::os::unix::fs::symlink(if target == "../a" { "../../a" } else { target }, &link).unwrap();
            assert!(walk(&root).unwrap_err().to_string().contains("leads to a folder that holds it"), "{target}");
            std::fs::remove_file(link).unwrap();
        }
    }

    /// Two folders that lead into each other end as well.
    #[test]
    fn links_into_each_other_end() {
        let folder = tempfile::tempdir().unwrap();
        for (one, other) in [("a", "b"), ("b", "a")] {
            std::fs::create_dir_all(folder.path().join(one)).unwrap();
            std::os::unix::fs::symlink(format!("../{other}"), folder.path().join(one).join("to")).unwrap();
        }
        assert!(walk(folder.path()).is_err());
    }
}
