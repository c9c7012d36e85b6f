//! A plan as people read it.

use serde_json::{Value, json};

use super::{CYAN, DIM, GREEN, RED, Ui, YELLOW};
use crate::plan::{Action, Change, Plan};

/// The plan as text: what changes, field by field, and why.
#[must_use]
pub fn plan_text(ui: &Ui, plan: &Plan) -> String {
    let mut text = String::new();
    let shown: Vec<&Change> = plan.changes.iter().filter(|change| change.action != Action::Keep).collect();
    for change in &shown {
        let color = match change.action {
            Action::Create | Action::Adopt => GREEN,
            Action::Update => YELLOW,
            Action::Replace => CYAN,
            Action::Delete | Action::Forget => RED,
            Action::Keep => DIM,
        };
        let kind = change.address.kind.kind();
        let spec = change.after.as_ref().map(|resource| &resource.spec).or(change.before.as_ref());
        let summary = spec.map(|spec| kind.summary(spec)).filter(|summary| !summary.is_empty());
        let line = format!("{} {}", change.action.sign(), change.address);
        text += &ui.paint(color, &line);
        if let Some(summary) = summary {
            text += &format!("  {summary}");
        }
        text += &format!("  {}\n", ui.paint(DIM, &format!("({})", change.reason)));
        if matches!(change.action, Action::Update | Action::Replace) && change.before.is_some() {
            for (name, before, after) in change.fields() {
                let value =
                    |value: Option<Value>| value.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
                text += &format!("      {name}: {} -> {}\n", value(before), value(after));
            }
        }
    }
    if !shown.is_empty() {
        text.push('\n');
    }
    text += &format!("{}\n", summary(plan));
    text
}

fn summary(plan: &Plan) -> String {
    let count = |action: Action| plan.of(action).count();
    let resources = if plan.is_empty() {
        "resources: nothing to do".to_owned()
    } else {
        let parts = [
            (count(Action::Create), "to create"),
            (count(Action::Adopt), "to take over"),
            (count(Action::Update), "to change"),
            (count(Action::Replace), "to replace"),
            (count(Action::Delete), "to destroy"),
            (count(Action::Forget), "to forget"),
        ];
        let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        format!("resources: {}", parts.join(", "))
    };
    let hosts = plan.configure.hosts.len();
    if hosts == 0 || plan.configure.playbooks.is_empty() {
        return resources;
    }
    let names = plan.configure.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("{resources}\nmachines:  {hosts} configured by {} ({names})", plan.configure.playbooks.join(", "))
}

/// The plan as JSON, with the fields that differ beside each change.
///
/// # Panics
/// Never: a plan is plain data.
#[must_use]
pub fn plan_json(plan: &Plan) -> Value {
    let mut value = serde_json::to_value(plan).expect("a plan is plain data");
    for (change, entry) in plan.changes.iter().zip(value["changes"].as_array_mut().into_iter().flatten()) {
        let fields: Vec<Value> = change
            .fields()
            .into_iter()
            .map(|(name, before, after)| json!({ "field": name, "before": before, "after": after }))
            .collect();
        entry["fields"] = fields.into();
    }
    value
}
