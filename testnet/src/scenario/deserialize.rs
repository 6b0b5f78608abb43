//! Reads types from a [`Tree`]: what is wrong is told with the place where it was written, the key, and what is allowed.

use std::fmt;

use serde::Deserializer;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, EnumAccess, Error, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};

use super::nearest::{list, suggestion};
use super::tree::{Origin, Tree, Value};

/// What is wrong, and where as far as that is known yet.
#[derive(Debug)]
pub(super) struct ReadError {
    pub(super) key: String,
    pub(super) origin: Option<Origin>,
    pub(super) message: String,
}

impl ReadError {
    /// Says that the error lies below a key.
    fn below(mut self, segment: &str, origin: &Origin) -> Self {
        let dot = match self.key.is_empty() || self.key.starts_with('[') {
            true => "",
            false => ".",
        };
        self.key = format!("{segment}{dot}{}", self.key);
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "key `{}`: {}", self.key, self.message)
    }
}

impl std::error::Error for ReadError {}

impl Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            key: String::new(),
            origin: None,
            message: message.to_string(),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!(
            "{} is not allowed here, {expected} is",
            plain(found)
        ))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, allowed: &'static [&'static str]) -> Self {
        let suggestion = suggestion(variant, allowed.iter().copied());
        let allowed = list(allowed.iter().copied());
        Self::custom(format_args!(
            "`{variant}` is not allowed here, one of {allowed} is{suggestion}"
        ))
    }

    fn unknown_field(field: &str, allowed: &'static [&'static str]) -> Self {
        let suggestion = suggestion(field, allowed.iter().copied());
        let allowed = list(allowed.iter().copied());
        Self::custom(format_args!(
            "there is no such key; allowed are {allowed}{suggestion}"
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format_args!("`{field}` is missing"))
    }
}

/// Values as people write them, without the names that a compiler has for them.
fn plain(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(switch) => switch.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Float(number) => number.to_string(),
        Unexpected::Str(text) => format!("{text:?}"),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

impl<'de> Deserializer<'de> for &'de Tree {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Switch(switch) => visitor.visit_bool(*switch),
            Value::Integer(integer) => visitor.visit_i64(*integer),
            Value::Float(float) => visitor.visit_f64(*float),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(list) => visitor.visit_seq(Elements(list.iter().enumerate())),
            Value::Table(table) => visitor.visit_map(Entries {
                entries: table.iter(),
                next: None,
            }),
            Value::Foreign(text) => Err(ReadError::invalid_type(Unexpected::Other(text), &visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    /// A choice is a word, or a table of one key: the word, with what belongs to it.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Text(word) => visitor.visit_enum(Choice {
                word,
                content: None,
            }),
            Value::Table(table) if table.len() == 1 => {
                let (word, content) = table.iter().next().expect("it has one entry");
                visitor.visit_enum(Choice {
                    word,
                    content: Some(content),
                })
            }
            Value::Table(table) => Err(ReadError::custom(format_args!(
                "one key is wanted, there are {}; allowed is one of {}",
                table.len(),
                list(words.iter().copied())
            ))),
            _ => Err(ReadError::custom(format_args!(
                "a word is wanted, or a table of one word; allowed is one of {}",
                list(words.iter().copied())
            ))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Elements<'de>(std::iter::Enumerate<std::slice::Iter<'de, Tree>>);

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some((index, tree)) = self.0.next() else {
            return Ok(None);
        };
        let read = seed.deserialize(tree);
        read.map(Some)
            .map_err(|error| error.below(&format!("[{index}]"), &tree.origin))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Entries<'de> {
    entries: std::collections::btree_map::Iter<'de, String, Tree>,
    next: Option<(&'de String, &'de Tree)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        self.next = self.entries.next();
        let Some((key, tree)) = self.next else {
            return Ok(None);
        };
        let word: StrDeserializer<'_, ReadError> = key.as_str().into_deserializer();
        let read = seed.deserialize(word);
        read.map(Some)
            .map_err(|error| error.below(key, &tree.origin))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ReadError> {
        let (key, tree) = self
            .next
            .take()
            .expect("a value is asked for after its key");
        let read = seed.deserialize(tree);
        read.map_err(|error| error.below(key, &tree.origin))
    }
}

struct Choice<'de> {
    word: &'de str,
    content: Option<&'de Tree>,
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), ReadError> {
        let word: StrDeserializer<'_, ReadError> = self.word.into_deserializer();
        Ok((seed.deserialize(word)?, self))
    }
}

impl<'de> Choice<'de> {
    fn read<T>(self, read: impl FnOnce(&'de Tree) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let Some(content) = self.content else {
            return Err(ReadError::custom(format_args!(
                "`{0}` needs a value: {{ {0} = ... }}",
                self.word
            )));
        };
        read(content).map_err(|error| error.below(self.word, &content.origin))
    }
}

impl<'de> VariantAccess<'de> for Choice<'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.content {
            None => Ok(()),
            Some(_) => Err(ReadError::custom(format_args!(
                "`{}` takes no value",
                self.word
            ))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        self.read(|content| seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.read(|content| content.deserialize_any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if self.content.is_some() {
            return self.read(|content| content.deserialize_any(visitor));
        }
        // The word alone is the table in which nothing is set.
        let word = self.word;
        let empty = serde::de::value::MapDeserializer::new(std::iter::empty::<((), ())>());
        let read = visitor.visit_map(empty);
        read.map_err(|error: ReadError| ReadError {
            message: format!("{}: {{ {word} = {{ ... }} }}", error.message),
            ..error
        })
    }
}
