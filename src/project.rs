//! Which project something belongs to: an id that is made once and kept in the project's folder, in its states and in the
//! labels of its objects. The path of a checkout decides nothing. May import the vocabulary only.

use std::{
    fmt,
    io::Write as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Context, Error, Result},
    identity,
    name::Name,
};

/// The file that holds the id, beside `envs/`.
pub const FILE: &str = ".infra-project";
/// How many characters of the folder's name go into an id.
const NAME: usize = 20;
/// How many random characters end it.
const RANDOM: usize = 8;
/// What the file says of itself.
const COMMENT: &str = "# The id of this project: infra labels what it creates with it. Commit this file to version control, so that \
                       colleagues and pipelines share it.";

/// The id of a project, as `shop-k3x9q2ab`: letters and digits that labels and names of objects may have everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectId(String);

impl ProjectId {
    /// A new id for the project of a folder.
    ///
    /// # Errors
    /// When the machine has no random numbers.
    pub fn random(folder: &Path) -> Result<Self> {
        let random = identity::random_text(RANDOM)?.to_ascii_lowercase();
        Ok(Self(format!("{}-{random}", plain(folder))))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a folder in lower-case letters, digits and single `-`, beginning with a letter.
fn plain(folder: &Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut plain = String::new();
    for c in name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }) {
        let fits = if plain.is_empty() { c.is_ascii_alphabetic() } else { c != '-' || !plain.ends_with('-') };
        if fits && plain.len() < NAME {
            plain.push(c);
        }
    }
    let plain = plain.trim_end_matches('-');
    if plain.is_empty() { "project".to_owned() } else { plain.to_owned() }
}

impl FromStr for ProjectId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once('-');
        let fits = parts.is_some_and(|(name, random)| (1..=NAME).contains(&name.len()) && random.len() == RANDOM);
        if fits && text.parse::<Name>().is_ok() {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not the id of a project, like `shop-k3x9q2ab`"))
        }
    }
}

impl TryFrom<String> for ProjectId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ProjectId> for String {
    fn from(id: ProjectId) -> Self {
        id.0
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The file with the id of the project in this folder.
#[must_use]
pub fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// The id of the project in this folder; `None` when it has none yet.
///
/// # Errors
/// When its file cannot be read, or holds something else.
pub fn read(folder: &Path) -> Result<Option<ProjectId>> {
    let path = file(folder);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.context(|| format!("cannot read `{}`", path.display()))?,
    };
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let hint = format!("restore `{FILE}` from version control: it holds one line with the project's id");
    let wrong =
        |line: usize, message: &str| Error::usage(format!("{}:{line}:1: {message}", path.display())).hint(hint.clone());
    let Some((number, line)) = lines.next() else { return Err(wrong(1, "the id of the project is missing")) };
    if let Some((number, _)) = lines.next() {
        return Err(wrong(number + 1, "a project has one id"));
    }
    line.trim().parse().map(Some).map_err(|error: String| wrong(number + 1, &error))
}

/// The id of the project in this folder, and whether it was made just now. Of commands that make it at the same time one
/// wins, and the others use its id.
///
/// # Errors
/// When the file cannot be written.
pub fn read_or_make(folder: &Path) -> Result<(ProjectId, bool)> {
    read_or_make_with(folder, |from, to| std::fs::hard_link(from, to))
}

fn read_or_make_with(
    folder: &Path, link: impl FnOnce(&Path, &Path) -> std::io::Result<()>,
) -> Result<(ProjectId, bool)> {
    if let Some(id) = read(folder)? {
        return Ok((id, false));
    }
    let (id, path) = (ProjectId::random(folder)?, file(folder));
    let cannot = || format!("cannot write `{}`", path.display());
    // It appears with its content or not at all.
    let new = folder.join(format!("{FILE}.{}", identity::random_text(RANDOM)?));
    let text = format!("{COMMENT}\n{id}\n");
    std::fs::write(&new, &text).context(cannot)?;
    let linked = link(&new, &path);
    let _ = std::fs::remove_file(&new);
    // Some file systems have no hard links.
    let made = linked.or_else(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Err(error),
        _ => create(&path, &text),
    });
    match made {
        Ok(()) => Ok((id, true)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let id = read(folder)?.ok_or_else(|| Error::new(cannot()))?;
            Ok((id, false))
        }
        Err(error) => Err(error).context(cannot),
    }
}

/// Writes a file that is not there yet.
fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    // An empty file would be in the way of the next command.
    file.write_all(text.as_bytes()).inspect_err(|_| drop(std::fs::remove_file(path)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{FILE, ProjectId, read, read_or_make, read_or_make_with};

    #[test]
    fn an_id_is_the_folders_name_made_plain_and_something_random() {
        let id = |folder: &str| ProjectId::random(Path::new(folder)).unwrap().to_string();
        let name = |folder: &str| id(folder).rsplit_once('-').unwrap().0.to_owned();
        assert_eq!(name("/home/ann/My  Shop!"), "my-shop");
        assert_eq!(name("/srv/2024_Ärzte-"), "rzte");
        assert_eq!(name("/srv/a-very-long-name-of-a-folder"), "a-very-long-name-of");
        assert_eq!(name("/"), "project");
        assert_ne!(id("/app"), id("/app"), "two projects at one path are two");
        for folder in ["/app", "/srv/a-very-long-name-of-a-folder", "/"] {
            id(folder).parse::<ProjectId>().unwrap();
        }
        for bad in ["", "/home/ann/shop", "shop", "shop-short", "Shop-k3x9q2ab", "0123456789abcdef0123", "-k3x9q2ab"] {
            assert!(bad.parse::<ProjectId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn it_is_made_once_by_whoever_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        let made: Vec<(ProjectId, bool)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| read_or_make(folder.path()).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|(id, _)| *id == made[0].0), "{made:?}");
        assert_eq!(made.iter().filter(|(_, made)| *made).count(), 1);
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, [FILE]);
        assert_eq!(read(folder.path()).unwrap().unwrap(), made[0].0);
    }

    #[test]
    fn it_is_made_where_there_are_no_hard_links() {
        let folder = tempfile::tempdir().unwrap();
        let make = || read_or_make_with(folder.path(), |_, _| Err(std::io::ErrorKind::Unsupported.into())).unwrap();
        let (id, made) = make();
        assert!(made);
        assert_eq!((read(folder.path()).unwrap(), make()), (Some(id.clone()), (id, false)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_holds_something_else_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let said = |text: &str| {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            read(folder.path()).unwrap_err().to_string()
        };
        assert!(said("# nothing\n").contains(".infra-project:1:1: the id of the project is missing"));
        assert!(said("# x\n\nShop!\n").contains(".infra-project:3:1: `Shop!` is not the id of a project"));
        assert!(said("shop-k3x9q2ab\nshop-k3x9q2ac\n").contains(".infra-project:2:1: a project has one id"));
    }
}
