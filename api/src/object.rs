//! JSON objects that are objects.
//!
//! Promise: where an object is expected, an array is refused. Read without this, its items would be taken for the fields
//! in their order, and a client's mistake for a request.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A value that is written as an object.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Outer {
        inner: Option<Object<Inner>>,
    }

    #[derive(Deserialize)]
    struct Inner {
        id: String,
    }

    #[test]
    fn an_array_is_no_object_at_any_depth() {
        let read = |json: &str| serde_json::from_str::<Object<Outer>>(json);
        let Object(outer) = read(r#"{"inner": {"id": "a"}}"#).unwrap();
        assert_eq!(outer.inner.unwrap().0.id, "a");
        assert!(read("{}").unwrap().0.inner.is_none());
        for json in [r#"[{"id": "a"}]"#, "[]", r#"{"inner": ["a"]}"#, "null", "1"] {
            let refused = read(json).err().unwrap().to_string();
            assert!(refused.contains("expected an object"), "{refused}");
        }
    }
}
