//! Objects that have the labels of another one: what an interrupted call has created after all, or copies that others have made.

use std::collections::BTreeMap;

use serde_json::Map;

use super::Run;
use crate::{
    error::Result,
    plan::{self, Action, Change, Plan},
    provider::Object,
    resource::Address,
};

impl Run<'_> {
    /// After an interrupted run: a call of the killed command may have been carried out after the plan was made, so that
    /// there are two objects of one address. The one that the state knows stays. The other one goes only when it has the token of
    /// the interrupted call: labels may be copied, as by a service that restores a backup. What may hold data never goes.
    pub(super) async fn remove_twins(&self, plan: &Plan) -> Result<()> {
        let changes: BTreeMap<&Address, &Change> =
            plan.changes.iter().map(|change| (&change.address, change)).collect();
        for object in self.provider.list(&plan.owner()).await? {
            let known = {
                let state = &self.books().state;
                let is_known = state.known(object.address.kind, &object.id).is_some();
                state.resources.get(&object.address).filter(|_| !is_known).cloned()
            };
            let (Some(known), Some(change)) = (known, changes.get(&object.address)) else { continue };
            // What the plan took for the resource, and was created once more since: the call was made again.
            let was_begun = change.object.as_ref().is_some_and(|found| found.id == object.id);
            // What this command has created or completed has no copies yet: another one of the same token is of that call, too.
            let is_of_that_call = change.token.as_ref() == Some(&object.token);
            let is_new = change.action == Action::Create
                || change.object.as_ref().is_some_and(|found| super::is_begun(change, found));
            let is_late = is_of_that_call && (known.token != object.token || is_new);
            if !was_begun && !is_late {
                continue;
            }
            if may_hold_data(&object) {
                self.events.warn(plan::twin(&object.address, &[&object.id], &known.id));
                continue;
            }
            self.store.confirm().await?;
            self.until_stopped(self.driver(&object.address)?.delete(&object.id)).await?;
        }
        Ok(())
    }
}

/// Whether an object is of a kind that holds data.
pub(super) fn may_hold_data(object: &Object) -> bool {
    object.address.kind.kind().data(&Map::new()).is_some()
}
