//! Values between JSON and minijinja: variables that are resolved when they are used, and Python's methods on them.

use std::{fmt, sync::Arc};

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Enumerator, Object, ObjectRepr, Serde, ValueKind},
};

use super::{Engine, Scope, Var, depth, is_template, is_undefined, lookups};

/// The root context of a template.
pub(super) fn context(engine: &Engine, scope: &Arc<dyn Scope>) -> Value {
    Value::from_object(Root(Resolver { engine: engine.clone(), scope: Arc::clone(scope), depth: depth::current() }))
}

/// What lazy values are resolved with.
#[derive(Clone)]
pub(super) struct Resolver {
    pub(super) engine: Engine,
    pub(super) scope: Arc<dyn Scope>,
    /// How deep it was made.
    depth: usize,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// A value whose texts may be templates.
    fn lazy(&self, value: &serde_json::Value) -> Value {
        match value {
            serde_json::Value::String(text) if is_template(text) => {
                match self.engine.native(text, &self.scope) {
                    Ok(value) => value,
                    // `x is defined` looks through to an undefined variable inside `x`.
                    Err(error) if is_undefined(&error) => Value::UNDEFINED,
                    Err(error) => Value::from(error),
                }
            }
            serde_json::Value::Array(items) if items.iter().any(holds_template) => {
                Value::from_object(LazyList { items: Arc::new(items.clone()), resolver: self.clone() })
            }
            serde_json::Value::Object(map) if map.values().any(holds_template) => {
                Value::from_object(LazyMap { map: Arc::new(map.clone()), resolver: self.clone() })
            }
            plain => from_json(plain),
        }
    }
}

fn holds_template(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => is_template(text),
        serde_json::Value::Array(items) => items.iter().any(holds_template),
        serde_json::Value::Object(map) => map.values().any(holds_template),
        _ => false,
    }
}

#[derive(Debug)]
struct Root(Resolver);

impl Object for Root {
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.scope.names().into_iter().map(Value::from).collect())
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        depth::from(self.0.depth, || self.variable(name))
    }
}

impl Root {
    fn variable(&self, name: &str) -> Option<Value> {
        match self.0.scope.get(name) {
            Some(Var::Template(value)) => Some(self.0.lazy(&value)),
            Some(Var::Data(value)) => Some(from_json(&value)),
            Some(Var::Native(value)) => Some(value),
            None => match name {
                "omit" => Some(Value::from_object(Omit)),
                "lookup" | "query" | "q" => Some(lookups::function(self.0.clone(), name != "lookup")),
                "undef" => Some(Value::UNDEFINED),
                _ => None,
            },
        }
    }
}

/// What an argument is set to that shall be left out: `default(omit)`. It is a kind of its own, so nothing that a host
/// answers can be one.
#[derive(Debug)]
struct Omit;

impl Object for Omit {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    /// In a text it is nothing, as in Ansible.
    fn render(self: &Arc<Self>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

pub(super) fn is_omit(value: &Value) -> bool {
    value.downcast_object_ref::<Omit>().is_some()
}

/// A function from a key to its value.
type Get = dyn Fn(&str) -> Option<Var> + Send + Sync;

/// A mapping whose values are computed when they are looked at.
pub(super) struct Computed {
    pub(super) keys: Vec<String>,
    pub(super) get: Box<Get>,
    /// How deep it was made.
    pub(super) depth: usize,
}

impl fmt::Debug for Computed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.keys)
    }
}

impl Object for Computed {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match depth::from(self.depth, || (self.get)(key.as_str()?))? {
            Var::Template(value) => Some(from_json(&value)),
            Var::Data(value) => Some(from_json(&value)),
            Var::Native(value) => Some(value),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.keys.iter().map(|key| Value::from(key.as_str())).collect())
    }
}

#[derive(Debug)]
struct LazyMap {
    map: Arc<serde_json::Map<String, serde_json::Value>>,
    resolver: Resolver,
}

impl Object for LazyMap {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let value = self.map.get(key.as_str()?)?;
        Some(depth::from(self.resolver.depth, || self.resolver.lazy(value)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.map.keys().map(|key| Value::from(key.as_str())).collect())
    }
}

#[derive(Debug)]
struct LazyList {
    items: Arc<Vec<serde_json::Value>>,
    resolver: Resolver,
}

impl Object for LazyList {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let value = self.items.get(key.as_usize()?)?;
        Some(depth::from(self.resolver.depth, || self.resolver.lazy(value)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.items.len())
    }
}

/// A plain value.
pub(super) fn from_json(value: &serde_json::Value) -> Value {
    Value::from(Serde(value))
}

/// The error that a value is: what it was made of could not be evaluated.
pub(super) fn invalid(value: &Value) -> Error {
    let text = value.to_string();
    let message = text.strip_prefix("<invalid value: ").and_then(|text| text.strip_suffix('>')).unwrap_or(&text);
    Error::new(ErrorKind::InvalidOperation, message.to_owned())
}

/// A value as JSON, `None` when it is omitted; what is omitted inside is left out. Undefined values inside are errors, and so
/// are functions.
pub(super) fn finalized(value: &Value) -> Result<Option<serde_json::Value>, Error> {
    if is_omit(value) {
        return Ok(None);
    }
    Ok(Some(match value.kind() {
        ValueKind::Undefined => return Err(Error::new(ErrorKind::UndefinedError, "the value is undefined")),
        ValueKind::Invalid => return Err(invalid(value)),
        ValueKind::Seq | ValueKind::Iterable => {
            let mut items = Vec::new();
            for item in value.try_iter()? {
                items.extend(finalized(&item)?);
            }
            serde_json::Value::Array(items)
        }
        ValueKind::Map => {
            let mut map = serde_json::Map::new();
            for key in value.try_iter()? {
                if let Some(item) = finalized(&value.get_item(&key)?)? {
                    map.insert(key.as_str().map_or_else(|| key.to_string(), str::to_owned), item);
                }
            }
            serde_json::Value::Object(map)
        }
        _ => serde_json::to_value(value).map_err(|error| {
            Error::new(ErrorKind::InvalidOperation, "the value cannot be stored").with_source(error)
        })?,
    }))
}

/// As [`finalized`]; an omitted value is nothing.
pub(super) fn to_json(value: &Value) -> Result<serde_json::Value, Error> {
    Ok(finalized(value)?.unwrap_or_default())
}

/// Python's methods: those of minijinja-contrib, and those that Ansible content uses beside them.
pub(super) fn unknown_method(
    state: &mut State<'_, '_>, value: &Value, method: &str, args: &[Value],
) -> Result<Value, Error> {
    let text = |at: usize| args.get(at).and_then(Value::as_str);
    if let Some(this) = value.as_str() {
        match (method, text(0)) {
            ("removeprefix", Some(prefix)) => return Ok(Value::from(this.strip_prefix(prefix).unwrap_or(this))),
            ("removesuffix", Some(suffix)) => return Ok(Value::from(this.strip_suffix(suffix).unwrap_or(this))),
            ("rsplit", Some(separator)) => {
                let limit = args.get(1).and_then(Value::as_usize);
                let mut parts: Vec<&str> = match limit {
                    Some(limit) => this.rsplitn(limit + 1, separator).collect(),
                    None => this.rsplit(separator).collect(),
                };
                parts.reverse();
                return Ok(parts.into_iter().map(Value::from).collect());
            }
            ("partition", Some(separator)) => {
                let (head, mid, tail) = this.split_once(separator).map_or((this, "", ""), |(h, t)| (h, separator, t));
                return Ok([head, mid, tail].into_iter().map(Value::from).collect());
            }
            ("zfill", _) => {
                let width = args.first().and_then(Value::as_usize).unwrap_or(0);
                return Ok(Value::from(format!("{this:0>width$}")));
            }
            _ => {}
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
}
