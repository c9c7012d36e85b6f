//! Whose objects are: an environment of a project, as their labels say.

use serde::{Deserialize, Serialize};

use super::Object;
use crate::{name::Name, project::ProjectId};

/// An environment of a project, as the labels of its objects name it. Environments of one name in two projects are two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The environment's name in labels.
    pub environment: Name,
    /// What the project label says: the project's id. Objects that an earlier version made have the path of a folder there, or
    /// a digest of it.
    pub project: String,
}

impl Owner {
    /// Whether an object's labels name this owner.
    #[must_use]
    pub fn owns(&self, object: &Object) -> bool {
        object.environment == self.environment.as_str() && object.project == self.project
    }

    /// Whether the environment was made by an earlier version, which knew projects by their paths. Its objects keep the names
    /// that they have.
    #[must_use]
    pub fn is_of_earlier_version(&self) -> bool {
        self.project.parse::<ProjectId>().is_err()
    }
}
