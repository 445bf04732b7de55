//! Rows of SQLite's as serde reads them: a structure by the names of its columns, a tuple by their
//! order.

use rusqlite::{Row, types::ValueRef};
use serde::{
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _,
        MapAccess, SeqAccess, Visitor,
        value::{Error, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

use crate::store::{StoreError, error::DEFECT};

/// What a row holds.
pub(super) fn read<T: DeserializeOwned>(row: &Row<'_>) -> Result<T, StoreError> {
    let columns = row.as_ref().column_count();
    T::deserialize(Whole(Cells { row, columns, next: 0 })).map_err(|error: Error| {
        StoreError::Unavailable { reason: format!("a row cannot be read: {error}"), hint: DEFECT }
    })
}

struct Whole<'a, 'r>(Cells<'a, 'r>);

struct Cells<'a, 'r> {
    row: &'a Row<'r>,
    columns: usize,
    next: usize,
}

impl<'a> Cells<'a, '_> {
    fn value(&mut self) -> Result<Cell<'a>, Error> {
        let value = self.row.get_ref(self.next).map_err(Error::custom)?;
        self.next += 1;
        Ok(Cell(value))
    }
}

impl<'de> Deserializer<'de> for Whole<'_, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(self.0)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self.0)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Cells<'_, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        key: K,
    ) -> Result<Option<K::Value>, Error> {
        if self.next == self.columns {
            return Ok(None);
        }
        let name = self.row.as_ref().column_name(self.next).map_err(Error::custom)?;
        key.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, value: V) -> Result<V::Value, Error> {
        let cell = self.value()?;
        value.deserialize(cell)
    }
}

impl<'de> SeqAccess<'de> for Cells<'_, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        element: T,
    ) -> Result<Option<T::Value>, Error> {
        if self.next == self.columns {
            return Ok(None);
        }
        let cell = self.value()?;
        element.deserialize(cell).map(Some)
    }
}

struct Cell<'a>(ValueRef<'a>);

impl<'de> Deserializer<'de> for Cell<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            ValueRef::Null => visitor.visit_unit(),
            ValueRef::Integer(value) => visitor.visit_i64(value),
            ValueRef::Real(value) => visitor.visit_f64(value),
            ValueRef::Text(bytes) => {
                visitor.visit_str(std::str::from_utf8(bytes).map_err(Error::custom)?)
            }
            ValueRef::Blob(bytes) => visitor.visit_bytes(bytes),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            ValueRef::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            ValueRef::Integer(value) => visitor.visit_bool(value != 0),
            _ => self.deserialize_any(visitor),
        }
    }

    /// `Vec<u8>` is a list of numbers to serde.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            ValueRef::Blob(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied())),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;
    use serde::Deserialize;

    use super::*;
    use crate::store::{connection::Value, sqlite::link};

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        size: i64,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Outer {
        name: String,
        none: Option<i64>,
        some: Option<String>,
        bytes: Vec<u8>,
        yes: bool,
        #[serde(flatten)]
        inner: Inner,
    }

    #[test]
    fn a_row_is_read_by_names_or_by_order() {
        let link = Connection::open_in_memory().unwrap();
        let text = "SELECT 1 AS other, 'x' AS name, NULL AS none, $2 AS some, x'0102' AS bytes, \
                    $1 AS yes, 7 AS size";
        let found: Vec<Outer> =
            link::all(&link, text, &[Value::from(true), Value::from("two")]).unwrap();
        let (name, some) = ("x".to_owned(), Some("two".to_owned()));
        let inner = Inner { size: 7 };
        assert_eq!(found, [Outer { name, none: None, some, bytes: vec![1, 2], yes: true, inner }]);
        let pairs: Vec<(i64, Option<String>)> =
            link::all(&link, "SELECT 1, 'a' UNION ALL SELECT 2, NULL", &[]).unwrap();
        assert_eq!(pairs, [(1, Some("a".to_owned())), (2, None)]);
    }

    #[test]
    fn what_is_of_another_kind_is_refused() {
        let link = Connection::open_in_memory().unwrap();
        for text in ["SELECT 'x'", "SELECT NULL", "SELECT 1.5", "SELECT 1 WHERE $2 = 1"] {
            let found = link::all::<(i64,)>(&link, text, &[Value::from(1_i64)]);
            assert!(matches!(found, Err(StoreError::Unavailable { .. })), "{text}: {found:?}");
        }
    }
}
