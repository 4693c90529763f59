//! The settings file: flat YAML, a name and a value a line.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use defs_core::settings::Settings;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::LoadError;

/// A larger file is no settings file; it is refused before it fills memory.
const FILE_MAX: u64 = 1 << 20;

/// Sets everything that the file says.
pub(super) fn apply(path: &Path, settings: &mut Settings) -> Result<(), LoadError> {
    let text = read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    let Entries(entries) = parse(&text)
        .map_err(|source| LoadError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
    for (name, value) in entries {
        let line = value.referenced.line();
        settings.set(&name, &value.value.0).map_err(|source| LoadError::File {
            path: path.to_owned(),
            line,
            source,
        })?;
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = File::open(path)?.take(FILE_MAX + 1);
    file.read_to_string(&mut text)?;
    if file.limit() == 0 {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}

fn parse(text: &str) -> Result<Entries, serde_saphyr::Error> {
    // A file of comments only is an empty map, which YAML would call null.
    let says_nothing = |line: &str| line.trim().is_empty() || line.trim().starts_with('#');
    if text.lines().all(says_nothing) {
        return Ok(Entries(Vec::new()));
    }
    serde_saphyr::from_str(text)
}

/// Names and values in the order of the file.
struct Entries(Vec<(String, Spanned<Value>)>);

/// A scalar as it is written, or a list joined by commas.
struct Value(String);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("settings as `name: value`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a text, a number, true, false or a list of these")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value(String::new()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Value(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value(values.join(",")))
    }
}
