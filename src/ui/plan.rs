//! A plan as people read it.

use serde_json::{Map, Value, json};

use super::{CYAN, DIM, GREEN, RED, Ui, YELLOW};
use crate::{
    plan::{Action, Change, DataPolicy, Plan},
    resource,
};

/// The plan as text: what changes, field by field, and why.
#[must_use]
pub fn plan_text(ui: &Ui, plan: &Plan) -> String {
    let mut text = String::new();
    // What is kept has a reason only when there is something to say of it.
    let is_shown = |change: &&Change| change.action != Action::Keep || !change.reason.is_empty();
    let shown: Vec<&Change> = plan.changes.iter().filter(is_shown).collect();
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
            for (name, before, after) in shown_parts(change) {
                if before == after {
                    text += &format!("      {name}: changed, and not shown\n");
                    continue;
                }
                let value = |value: Option<Value>| {
                    value.map_or_else(|| "nothing".to_owned(), |value| ui.redacted(&value).to_string())
                };
                text += &format!("      {name}: {} -> {}\n", value(before), value(after));
            }
        }
    }
    for secret in &plan.secrets {
        let color = if secret.action == Action::Create { GREEN } else { YELLOW };
        let line = format!("{} secret.{}", secret.action.sign(), secret.name);
        text += &format!("{}  {}\n", ui.paint(color, &line), ui.paint(DIM, &format!("({})", secret.reason)));
    }
    if !shown.is_empty() || !plan.secrets.is_empty() {
        text.push('\n');
    }
    text += &format!("{}\n", summary(plan));
    text += &legend(plan);
    for change in plan.losses() {
        let done = if change.action == Action::Replace { "replaced" } else { "destroyed" };
        let goes = if plan.data == DataPolicy::Copy { "goes" } else { "lost" };
        let lost = format!("{}, {goes} when `{}` is {done}", change.data.join(", "), change.address);
        text += &format!("data:      {}\n", ui.paint(RED, &lost));
    }
    if plan.check_losses().is_err() {
        text += "           refused without `--allow-data-loss`\n";
    }
    for warning in &plan.warnings {
        text += &format!("{} {warning}\n", ui.paint(YELLOW, "warning:"));
    }
    text
}

/// What the signs mean that are not those of a diff, if they are there.
fn legend(plan: &Plan) -> String {
    let signs = [
        (Action::Adopt, "exists, and is taken over"),
        (Action::Replace, "is destroyed and created again"),
        (Action::Forget, "is gone already, and is forgotten"),
    ];
    let there = signs.iter().filter(|(action, _)| plan.of(*action).next().is_some());
    let parts: Vec<String> = there.map(|(action, means)| format!("{} {means}", action.sign())).collect();
    if parts.is_empty() { String::new() } else { format!("signs:     {}\n", parts.join("; ")) }
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

/// The fields of a change that differ, as they may be shown: those that are confidential are the same before and after.
fn shown_fields(change: &Change) -> Vec<(String, Option<Value>, Option<Value>)> {
    let kind = change.address.kind;
    let shown = |name: &str, value: Option<Value>| {
        let field = Map::from_iter([(name.to_owned(), value?)]);
        resource::shown(kind, &field).remove(name)
    };
    let fields = change.fields().into_iter();
    fields.map(|(name, before, after)| (name.clone(), shown(&name, before), shown(&name, after))).collect()
}

/// The same for people: of a field that is a mapping before and after, only the parts that differ.
fn shown_parts(change: &Change) -> Vec<(String, Option<Value>, Option<Value>)> {
    let mut parts = Vec::new();
    for ((name, before, after), (_, plain_before, plain_after)) in shown_fields(change).into_iter().zip(change.fields())
    {
        match (&before, &after, &plain_before, &plain_after) {
            (
                Some(Value::Object(a)),
                Some(Value::Object(b)),
                Some(Value::Object(plain_a)),
                Some(Value::Object(plain_b)),
            ) => {
                let keys: std::collections::BTreeSet<&String> = plain_a.keys().chain(plain_b.keys()).collect();
                for key in keys.into_iter().filter(|key| plain_a.get(*key) != plain_b.get(*key)) {
                    parts.push((format!("{name}.{key}"), a.get(key).cloned(), b.get(key).cloned()));
                }
            }
            _ => parts.push((name, before, after)),
        }
    }
    parts
}

/// The plan as JSON, with the fields that differ beside each change.
///
/// # Panics
/// Never: a plan is plain data.
#[must_use]
pub fn plan_json(plan: &Plan) -> Value {
    let mut value = serde_json::to_value(plan).expect("a plan is plain data");
    for (change, entry) in plan.changes.iter().zip(value["changes"].as_array_mut().into_iter().flatten()) {
        for (pointer, spec) in [
            ("/before", change.before.as_ref()),
            ("/after/spec", change.after.as_ref().map(|resource| &resource.spec)),
            ("/object/actual", change.object.as_ref().map(|object| &object.actual)),
        ] {
            if let (Some(place), Some(spec)) = (entry.pointer_mut(pointer), spec) {
                *place = resource::shown(change.address.kind, spec).into();
            }
        }
        let fields: Vec<Value> = shown_fields(change)
            .into_iter()
            .map(|(name, before, after)| json!({ "field": name, "before": before, "after": after }))
            .collect();
        entry["fields"] = fields.into();
    }
    value["data_loss"] =
        plan.losses().map(|change| json!({ "address": change.address, "data": change.data })).collect();
    value
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{Action, Change, DataPolicy, Plan, Ui, plan_json, plan_text};
    use crate::{
        plan::{Configure, VERSION},
        resource::{Resource, Terms},
        secret::Redactor,
    };

    #[test]
    fn user_data_and_compose_files_are_not_shown() {
        let spec = |token: &str| -> Map<String, Value> {
            let spec =
                json!({ "cores": 2, "user_data": format!("token={token}"), "compose": "services: {x: hunter22}" });
            spec.as_object().unwrap().clone()
        };
        let address: crate::resource::Address = "vm.a".parse().unwrap();
        let after = Resource {
            address: address.clone(),
            spec: spec("hunter33"),
            needs: Vec::new(),
            origin: String::new(),
            data: Vec::new(),
        };
        let change = Change {
            address,
            action: Action::Replace,
            reason: "`user_data` cannot be changed in place".into(),
            before: Some(spec("hunter22")),
            after: Some(after),
            object: None,
            needs: Vec::new(),
            token: None,
            follows: Vec::new(),
            restarts: false,
            data: Vec::new(),
            chosen: Map::new(),
        };
        let plan = Plan {
            version: VERSION,
            environment: "dev".parse().unwrap(),
            labelled: "dev".parse().unwrap(),
            project: "p".into(),
            terms: Terms::default(),
            serial: 1,
            digest: String::new(),
            changes: vec![change],
            secrets: Vec::new(),
            configure: Configure::default(),
            data: DataPolicy::default(),
            warnings: Vec::new(),
        };
        let ui = Ui::new(false, true, false, Redactor::default());
        let text = plan_text(&ui, &plan);
        assert!(text.contains("user_data: changed, and not shown") && !text.contains("hunter"), "{text}");
        assert!(text.contains("signs:     ± is destroyed and created again\n") && !text.contains("= exists"), "{text}");
        let value = plan_json(&plan);
        assert!(!value.to_string().contains("hunter"), "{value}");
        assert_eq!(
            value["changes"][0]["fields"][0],
            json!({ "field": "user_data", "before": "[secret]", "after": "[secret]" })
        );
    }
}
