//! The variables beside a playbook: `group_vars/` and `host_vars/`.

use std::{path::Path, sync::Arc};

use indexmap::IndexMap;

use super::{Loader, merge_vars};
use crate::{error::Result, files, playbook::model::Beside, template::Vars};

impl Loader {
    /// The variables in the folder of a playbook.
    pub(super) fn beside(&self, folder: &Path) -> Result<Arc<Beside>> {
        let read = |name: &str| -> Result<IndexMap<String, Vars>> {
            let mut all = IndexMap::new();
            for (name, paths) in files::vars_files(&folder.join(name))? {
                let mut vars = Vars::default();
                for path in paths {
                    let node = self.read(&path);
                    self.variables(&node);
                    merge_vars(&node, &mut vars);
                }
                self.defines(vars.keys());
                all.insert(name, vars);
            }
            Ok(all)
        };
        Ok(Arc::new(Beside { group_vars: read("group_vars")?, host_vars: read("host_vars")? }))
    }
}
