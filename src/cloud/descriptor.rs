//! What an environment file and its loader need to know of a provider: its name, its section, and the few facts about it that
//! change what a file means.

use std::{any::Any, fmt, str::FromStr, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::PROVIDERS;

/// A provider, as environment files name it.
pub struct Descriptor {
    /// Its name: the value of `provider`, and the key of its section.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its section.
    pub section: SectionType,
    /// A key of its section that may also be at the top of a file, and what it means there. A file that has it, and no
    /// `provider`, is one of this provider.
    pub shorthand: Option<(&'static str, &'static str)>,
    /// What is different with it.
    pub capabilities: Capabilities,
}

/// Facts about a provider that change what an environment file means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether it runs PostgreSQL as a service of its own.
    pub manages_postgres: bool,
    /// Whether a subnet may have several address ranges.
    pub several_ranges: bool,
    /// Whether every public machine is reached from here without the bastion.
    pub reaches_public_machines: bool,
    /// Whether what it does not have is left out with a warning, so that files for others work with it, too.
    pub leaves_out: bool,
}

/// The settings of a provider, as they were read.
pub trait Section: Any + fmt::Debug + Send + Sync {}

impl<T: Any + fmt::Debug + Send + Sync> Section for T {}

/// The type of a section: its schema, and how it is read.
pub struct SectionType {
    schema: fn(&mut SchemaGenerator) -> Schema,
    read: fn(Value) -> serde_json::Result<Arc<dyn Section>>,
}

impl SectionType {
    /// The section that is read into this type.
    #[must_use]
    pub const fn of<T: DeserializeOwned + JsonSchema + Section>() -> Self {
        fn read<T: DeserializeOwned + Section>(value: Value) -> serde_json::Result<Arc<dyn Section>> {
            Ok(Arc::new(serde_json::from_value::<T>(value)?))
        }
        Self { schema: SchemaGenerator::subschema_for::<T>, read: read::<T> }
    }
}

/// The sections of all providers of a file.
#[derive(Clone, Debug)]
pub struct Sections(Vec<Arc<dyn Section>>);

impl Sections {
    /// Takes the sections, and their short forms, out of a file; what is left has none of their keys.
    ///
    /// # Errors
    /// When a section is not what its schema says.
    pub fn take(file: &mut Map<String, Value>) -> serde_json::Result<Self> {
        let read = |provider: &&Descriptor| {
            let mut section = file.remove(provider.name).unwrap_or_else(|| Value::Object(Map::new()));
            if let Some((key, _)) = provider.shorthand
                && let Some(value) = file.remove(key)
                && let Value::Object(section) = &mut section
            {
                section.entry(key).or_insert(value);
            }
            (provider.section.read)(section)
        };
        PROVIDERS.iter().map(read).collect::<serde_json::Result<_>>().map(Self)
    }

    /// The section of this type.
    ///
    /// # Panics
    /// When no provider has a section of this type.
    #[must_use]
    pub fn of<T: Section>(&self) -> &T {
        let mut found = self.0.iter().filter_map(|section| {
            let section: &dyn Any = &**section;
            section.downcast_ref()
        });
        found.next().expect("each provider reads its section into one type")
    }
}

/// The keys of a file that are those of providers, each with its schema, in their order.
pub fn section_properties(generator: &mut SchemaGenerator) -> Vec<(&'static str, Value)> {
    let mut properties = Vec::new();
    for provider in PROVIDERS {
        if let Some((key, about)) = provider.shorthand {
            properties
                .push((key, serde_json::json!({ "type": ["string", "null"], "description": about, "default": null })));
        }
        let mut section = (provider.section.schema)(generator).to_value();
        section["description"] = format!("Settings of the provider `{}`.", provider.name).into();
        properties.push((provider.name, section));
    }
    properties
}

/// The keys of a file that are those of providers.
pub fn section_keys() -> impl Iterator<Item = &'static str> {
    PROVIDERS.iter().flat_map(|provider| provider.shorthand.map(|(key, _)| key).into_iter().chain([provider.name]))
}

/// The name of a provider.
#[derive(Clone, Copy)]
pub struct ProviderName(&'static Descriptor);

impl ProviderName {
    /// All, in the order of the list.
    pub fn all() -> impl Iterator<Item = Self> {
        PROVIDERS.iter().map(|provider| Self(provider))
    }

    /// The one of a file that names none, by what else it has: that of the first short form, or the first of all.
    #[must_use]
    pub fn implied(file: &Map<String, Value>) -> Self {
        let has = |section: &Map<String, Value>, key: &str| section.get(key).is_some_and(|value| !value.is_null());
        let is_implied = |provider: &Self| {
            provider.0.shorthand.is_some_and(|(key, _)| {
                let section = file.get(provider.as_str()).and_then(Value::as_object);
                has(file, key) || section.is_some_and(|section| has(section, key))
            })
        };
        Self::all().find(is_implied).unwrap_or(Self(PROVIDERS[0]))
    }

    /// All names, as a sentence has them.
    #[must_use]
    pub fn choices() -> String {
        let names: Vec<String> = Self::all().map(|name| format!("`{}`", name.as_str())).collect();
        match names.as_slice() {
            [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            names => names.concat(),
        }
    }

    /// The name as it is written in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0.name
    }

    /// What is different with it.
    #[must_use]
    pub fn capabilities(self) -> Capabilities {
        self.0.capabilities
    }
}

impl fmt::Debug for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for ProviderName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for ProviderName {}

impl FromStr for ProviderName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::all()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a provider: use {}", Self::choices()))
    }
}

impl<'de> Deserialize<'de> for ProviderName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ProviderName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ProviderName".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        let one = |provider: &&Descriptor| serde_json::json!({ "type": "string", "const": provider.name, "description": provider.about });
        let all: Vec<Value> = PROVIDERS.iter().map(one).collect();
        json_schema!({ "oneOf": all, "description": "A provider of machines." })
    }
}
