//! What the author wrote with the value of one variable in it, before any other is known.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Authored, Engine, Scope, Var, Vars, is_template, name_root, text_of};

/// One variable, and nothing else.
struct Only(Vars);

impl Scope for Only {
    fn get(&self, name: &str) -> Option<Var> {
        self.0.get(name).cloned()
    }
}

impl Engine {
    /// Values with those texts rendered that speak of one variable alone. What would be a template again stays as it is written.
    #[must_use]
    pub fn fill_map(
        &self, values: &Authored<Map<String, Value>>, name: &str, value: &Value,
    ) -> Authored<Map<String, Value>> {
        let scope = only(name, value);
        let fill = |(key, value): (&String, &Value)| (key.clone(), self.filled(value, name, &scope));
        Authored::written(values.iter().map(fill).collect())
    }

    /// The same of one text.
    #[must_use]
    pub fn fill_text(&self, text: &Authored<String>, name: &str, value: &Value) -> Authored<String> {
        let filled = self.filled(&Value::String((**text).clone()), name, &only(name, value));
        Authored::written(text_of(&filled))
    }

    fn filled(&self, value: &Value, name: &str, scope: &Arc<dyn Scope>) -> Value {
        let fill = |value: &Value| self.filled(value, name, scope);
        match value {
            Value::String(text) if is_template(text) => {
                let names = self.names(text).map(|names| names.variables).unwrap_or_default();
                let alone = !names.is_empty() && names.iter().all(|path| name_root(path) == name);
                let known = alone.then(|| self.resolve(&Authored::written(value.clone()), scope).ok()).flatten();
                known.filter(|known| !is_template(&known.to_string())).unwrap_or_else(|| value.clone())
            }
            Value::Array(items) => items.iter().map(fill).collect(),
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), fill(value))).collect(),
            other => other.clone(),
        }
    }
}

fn only(name: &str, value: &Value) -> Arc<dyn Scope> {
    let mut vars = Vars::default();
    vars.insert_data(name, value.clone());
    Arc::new(Only(vars))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Authored, Engine};

    #[test]
    fn only_texts_that_speak_of_the_variable_alone_are_rendered() {
        let values = json!({"a": ["{{ item.x }}.conf", "{{ item.x }}{{ other }}"], "b": "{{ item.t }}", "c": 1});
        let values = Authored::written(values.as_object().unwrap().clone());
        let filled = Engine::default().fill_map(&values, "item", &json!({"x": "one", "t": "{{ evil }}"}));
        assert_eq!(
            json!(filled.into_inner()),
            json!({"a": ["one.conf", "{{ item.x }}{{ other }}"], "b": "{{ item.t }}", "c": 1})
        );
    }
}
