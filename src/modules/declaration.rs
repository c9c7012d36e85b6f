//! What is known of a call's arguments without a host: the fields of the struct that reads them, written once. The check before
//! a run, suggestions and the reference pages are derived from it.

use std::fmt;

use serde::{Deserializer, de::DeserializeOwned, forward_to_deserialize_any};
use serde_json::{Map, Value};

use super::arguments::{Choice, Flag, List, Number, Pattern, Text};

/// An argument.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// Its other names.
    pub aliases: &'static [&'static str],
    /// What it does, where its name does not say enough.
    pub about: &'static str,
    /// What it takes.
    pub form: Form,
    /// Whether a task must give it.
    pub required: bool,
    /// What it is when a task does not give it, where it is something.
    pub default: fn() -> Option<String>,
}

/// What an argument takes.
#[derive(Clone, Copy)]
pub enum Form {
    /// Any value.
    Any,
    /// One of some words.
    Choice(fn() -> &'static [&'static str]),
    /// A command with `%s` in it.
    Command,
    /// Conditions, which are expressions without braces.
    Conditions,
    /// An expression without braces.
    Expression,
    /// A boolean.
    Flag,
    /// A list.
    List,
    /// A mapping.
    Mapping,
    /// The mode of a file.
    Mode,
    /// A number.
    Number,
    /// A regular expression.
    Regex,
    /// A number of seconds.
    Seconds,
    /// A text.
    Text,
    /// What a struct in the struct takes.
    Several(&'static [Argument]),
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl Form {
    /// A few words for it, as the reference page has them.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Any | Self::Several(_) => "anything".to_owned(),
            Self::Choice(choices) => {
                choices().iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ")
            }
            Self::Command => "command with `%s`".to_owned(),
            Self::Conditions => "conditions".to_owned(),
            Self::Expression => "expression".to_owned(),
            Self::Flag => "boolean".to_owned(),
            Self::List => "list".to_owned(),
            Self::Mapping => "mapping".to_owned(),
            Self::Mode => "mode".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Regex => "regular expression".to_owned(),
            Self::Seconds => "seconds".to_owned(),
            Self::Text => "text".to_owned(),
        }
    }
}

impl Argument {
    /// An argument that a task may give and that no struct reads.
    #[must_use]
    pub const fn new(name: &'static str, form: Form) -> Self {
        Self { name, aliases: &[], about: "", form, required: false, default: || None }
    }

    /// The same, which a task must give.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// The same, which has other names too.
    #[must_use]
    pub const fn also(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// The same, with what it does.
    #[must_use]
    pub const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// The argument of a field, as `arguments!` declares it; `r#` is not part of its name.
    #[must_use]
    pub const fn of_field(
        name: &'static str, aliases: &'static [&'static str], about: &'static str, form: Form, optional: bool,
        default: Option<fn() -> Option<String>>,
    ) -> Self {
        let name = match name.as_bytes() {
            [b'r', b'#', ..] => name.split_at(2).1,
            _ => name,
        };
        let required = !optional && default.is_none();
        let default = match default {
            Some(default) => default,
            None => || None,
        };
        Self { name, aliases, about, form, required, default }
    }

    /// Whether this is one of its names.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

/// A list with the arguments of the structs within it.
pub(super) fn flatten(arguments: &'static [Argument]) -> Vec<&'static Argument> {
    let mut all = Vec::new();
    for argument in arguments {
        match argument.form {
            Form::Several(inner) => all.extend(flatten(inner)),
            _ => all.push(argument),
        }
    }
    all
}

/// The argument of a list that has this name.
pub(super) fn find(arguments: &'static [Argument], name: &str) -> Option<&'static Argument> {
    arguments.iter().find_map(|argument| match argument.form {
        Form::Several(inner) => find(inner, name),
        _ => argument.is(name).then_some(argument),
    })
}

/// A struct whose fields are arguments.
pub trait Declared {
    /// One argument a field.
    const ARGUMENTS: &'static [Argument];
}

/// A type of arguments.
pub trait Typed {
    /// What it takes.
    const FORM: Form;
    /// Whether it may be missing.
    const OPTIONAL: bool = false;

    /// What it is when it is missing, and the field has a default.
    #[must_use]
    fn default_text() -> Option<String> {
        None
    }
}

impl<T: Typed> Typed for Option<T> {
    const FORM: Form = T::FORM;
    const OPTIONAL: bool = true;
}

impl<T: Typed> Typed for Choice<T> {
    const FORM: Form = T::FORM;
}

impl<T> Typed for Number<T> {
    const FORM: Form = Form::Number;
}

impl<T> Typed for Vec<T> {
    const FORM: Form = Form::List;
}

impl<const USUALLY: bool> Typed for Flag<USUALLY> {
    const FORM: Form = Form::Flag;

    fn default_text() -> Option<String> {
        Some(USUALLY.to_string())
    }
}

/// Types that say nothing else than what they take.
macro_rules! typed {
    ($($type:ty => $form:ident),+ $(,)?) => {
        $(impl Typed for $type { const FORM: Form = Form::$form; })+
    };
}

typed! {
    List => List,
    Map<String, Value> => Mapping,
    Pattern => Regex,
    Text => Text,
    Value => Any,
}

/// Declares enums of words: their choices are those that serde reads. `default` is for those that have one.
macro_rules! choices {
    ($($type:ty),+ $(,)?) => {
        $(impl $crate::modules::Typed for $type {
            const FORM: $crate::modules::Form =
                $crate::modules::Form::Choice($crate::modules::declaration::choices_of::<$type>);
        })+
    };
    (default $($type:ty),+ $(,)?) => {
        $(impl $crate::modules::Typed for $type {
            const FORM: $crate::modules::Form =
                $crate::modules::Form::Choice($crate::modules::declaration::choices_of::<$type>);

            fn default_text() -> Option<String> {
                $crate::modules::declaration::default_of::<$type>()
            }
        })+
    };
}

/// Declares a struct that reads arguments: each field is one, with the names and the default that serde knows, and its doc
/// comment says what it does.
macro_rules! arguments {
    (@aliases [$($all:tt)*]) => { &[$($all)*] };
    (@aliases [$($all:tt)*] serde ($($inner:tt)*) $($rest:tt)*) => {
        $crate::modules::arguments!(@aliases [$($all)*] $($inner)* $($rest)*)
    };
    (@aliases [$($all:tt)*] alias = $alias:literal $($rest:tt)*) => {
        $crate::modules::arguments!(@aliases [$($all)* $alias,] $($rest)*)
    };
    (@aliases [$($all:tt)*] $other:tt $($rest:tt)*) => { $crate::modules::arguments!(@aliases [$($all)*] $($rest)*) };

    (@default $type:ty;) => { None };
    (@default $type:ty; serde ($($inner:tt)*) $($rest:tt)*) => {
        $crate::modules::arguments!(@default $type; $($inner)* $($rest)*)
    };
    (@default $type:ty; default $($rest:tt)*) => {
        Some(<$type as $crate::modules::Typed>::default_text as fn() -> Option<String>)
    };
    (@default $type:ty; $other:tt $($rest:tt)*) => { $crate::modules::arguments!(@default $type; $($rest)*) };

    (@about [$($all:tt)*]) => { concat!($($all)*) };
    (@about [$($all:tt)*] doc = $text:literal $($rest:tt)*) => {
        $crate::modules::arguments!(@about [$($all)* $text,] $($rest)*)
    };
    (@about [$($all:tt)*] $other:tt $($rest:tt)*) => { $crate::modules::arguments!(@about [$($all)*] $($rest)*) };

    ($(#[$($meta:tt)*])* $visible:vis struct $name:ident {
        $($(#[$($attribute:tt)*])* $seen:vis $field:ident : $type:ty),* $(,)?
    }) => {
        $(#[$($meta)*])*
        #[derive(serde::Deserialize)]
        $visible struct $name {
            $($(#[$($attribute)*])* $seen $field: $type,)*
        }

        impl $crate::modules::Declared for $name {
            const ARGUMENTS: &'static [$crate::modules::Argument] = &[
                $($crate::modules::Argument::of_field(
                    stringify!($field),
                    $crate::modules::arguments!(@aliases [] $($($attribute)*)*),
                    $crate::modules::arguments!(@about [] $($($attribute)*)*),
                    <$type as $crate::modules::Typed>::FORM,
                    <$type as $crate::modules::Typed>::OPTIONAL,
                    $crate::modules::arguments!(@default $type; $($($attribute)*)*),
                ),)*
            ];
        }

        impl $crate::modules::Typed for $name {
            const FORM: $crate::modules::Form =
                $crate::modules::Form::Several(<Self as $crate::modules::Declared>::ARGUMENTS);
            const OPTIONAL: bool = true;
        }
    };
}

pub(crate) use arguments;
pub(super) use choices;

/// The words that an enum is read from.
pub(super) fn choices_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut found: &'static [&'static str] = &[];
    // It only notes the words: there is nothing to read.
    let _ = T::deserialize(Choices(&mut found));
    found
}

/// The word for the default of an enum.
pub(super) fn default_of<T: DeserializeOwned + Default + PartialEq>() -> Option<String> {
    let means =
        |word: &&&str| serde_json::from_value::<T>(Value::from(**word)).is_ok_and(|value| value == T::default());
    choices_of::<T>().iter().find(means).map(|word| (*word).to_owned())
}

/// Notes the words that an enum asks for.
struct Choices<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Choices<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("this is no choice of words"))
    }

    fn deserialize_enum<V: serde::de::Visitor<'de>>(
        self, _: &'static str, words: &'static [&'static str], _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = words;
        Err(serde::de::Error::custom("the words are known"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
