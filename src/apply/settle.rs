//! What an apply waits for beside its calls: that objects in transition come to rest, and that machines are healthy once they are
//! configured.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Map, Value};

use super::{Run, token};
use crate::{
    error::{Error, Result},
    plan::{self, Action, Change, Plan},
    provider::{Driver, MEMBERS, Object},
    resource::Resource,
};

/// How long an object that is not changed is waited for.
const UNCHANGED: Duration = Duration::from_mins(10);

/// Which machines are configured when a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configured {
    /// All of them, or nothing is to be configured.
    All,
    /// Those that were there before.
    Former,
}

impl Run<'_> {
    /// An object that is in transition, once it has come to rest. One that is not to be changed and does not come to rest is
    /// none of this command's business: that is said, there is nothing to write down of it, and all else goes on.
    pub(super) async fn at_rest(
        &self, change: &Change, object: &Object, driver: &dyn Driver,
    ) -> Result<Option<Object>> {
        let subject = change.address.to_string();
        let is_kept = change.action == Action::Keep;
        let waiting = async {
            let settled = self.until_stopped(driver.settled(object));
            if !is_kept {
                return settled.await;
            }
            let late = |_| Error::new(format!("it is not at rest after {} s", UNCHANGED.as_secs()));
            tokio::time::timeout(UNCHANGED, settled).await.map_err(late)?
        };
        match self.events.watch(&subject, "waiting until it is at rest", "at rest", waiting).await {
            Ok(settled) => Ok(Some(settled)),
            Err(error) if self.cancel.is_cancelled() => Err(error),
            Err(error) if is_kept => {
                self.events.warn(format!(
                    "`{subject}` is not changed, and does not come to rest: {error}; \
                     `--replace {subject}` creates it again"
                ));
                Ok(None)
            }
            Err(error) => Err(error.hint(format!("`--replace {subject}` creates it again without waiting"))),
        }
    }

    /// Brings what was created or changed to what it can only be once its machines are configured. Where only a part was
    /// applied, machines that are new are not: their groups are named, and left for the command that configures them.
    ///
    /// # Errors
    /// The first failure: a group whose machines do not become healthy.
    pub async fn finish(&self, plan: &Plan, configured: Configured) -> Result<()> {
        let made = |change: &&Change| {
            !matches!(change.action, Action::Keep | Action::Delete | Action::Forget)
                && self.driver(&change.address).is_ok_and(Driver::checks_machines)
                && (configured == Configured::All || !self.has_new_machines(change))
        };
        let groups = plan.changes.iter().filter(made).map(|change| async move {
            let Some(resource) = &change.after else { return Ok(()) };
            let object = plan::believed(&self.books().state, &plan.project, &change.address);
            let Some(object) = object else { return Ok(()) };
            let token = token()?;
            let request = self.request(plan, resource, &token)?;
            let driver = self.driver(&change.address)?;
            let work = async {
                let _call = self.call().await?;
                self.until_stopped(driver.finish(&object, &request)).await
            };
            let subject = change.address.to_string();
            let object = self.events.watch(&subject, "waiting until it is healthy", "healthy", work).await?;
            self.record(resource, &object).await
        });
        futures::future::join_all(groups).await.into_iter().collect()
    }

    /// Whether a group has machines that it did not have before its change. One that is to be checked is named.
    fn has_new_machines(&self, change: &Change) -> bool {
        let ids = |attributes: Option<&Map<String, Value>>| -> BTreeSet<String> {
            let members = attributes.and_then(|attributes| attributes.get(MEMBERS)?.as_array());
            let ids = members.into_iter().flatten().filter_map(|member| member["id"].as_str());
            ids.map(str::to_owned).collect()
        };
        let before = ids(change.object.as_ref().map(|object| &object.attributes));
        let state = &self.books().state;
        let now = ids(state.resources.get(&change.address).map(|entry| &entry.attributes));
        let is_new = !now.is_subset(&before);
        let is_checked = |resource: &Resource| resource.spec.get("health_check").is_some_and(|check| !check.is_null());
        if is_new && change.after.as_ref().is_some_and(is_checked) {
            self.events.warn(format!(
                "`{}` has new machines, which are not configured, and no health check until they are: apply all of it",
                change.address
            ));
        }
        is_new
    }
}
