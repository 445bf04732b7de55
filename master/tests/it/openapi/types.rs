//! Checks the described schemas of bodies against the types that read and write them: each type has
//! exactly the described fields, and parses its example.

use std::collections::BTreeSet;

use orchestra_contracts::{
    Attempt, Delivery, IssuedToken, Job, JobSpec, NewSchedule, NewToken, NewWebhook, Outcome,
    Problem, Queue, QueueChange, Ran, RegisteredWebhook, Repro, Schedule, ScheduleChange,
    TokenInfo, Upload, Usage, Webhook,
    explain::Explanation,
    files::{Artifact, Artifacts, AttemptChanges, Changes},
    worker::{
        ArtifactHead, ClaimRequest, Claimed, Heartbeat, HeartbeatReply, JobUpdate, LogHead, Offer,
        Orders, Registration, Stats, Updated, Welcome, Worker,
    },
};
use serde::{
    Deserializer, Serialize,
    de::{DeserializeOwned, Visitor, value::Error},
    forward_to_deserialize_any,
};
use serde_json::{Map, Value};

use super::{description, faults};

/// A type's round trip of a value, and its field names if it declares them.
struct Row {
    name: &'static str,
    again: fn(&Value) -> Result<Value, serde_json::Error>,
    fields: fn() -> Option<&'static [&'static str]>,
}

fn row<T: DeserializeOwned + Serialize>(name: &'static str) -> Row {
    let again = |value: &Value| serde_json::to_value(T::deserialize(value)?);
    Row { name, again, fields: Fields::of::<T> }
}

macro_rules! rows {
    ($($name:ident),+ $(,)?) => { vec![$(row::<$name>(stringify!($name))),+] };
}

fn rows() -> Vec<Row> {
    rows![
        Artifact,
        ArtifactHead,
        Artifacts,
        Attempt,
        AttemptChanges,
        Changes,
        ClaimRequest,
        Claimed,
        Delivery,
        Explanation,
        Heartbeat,
        HeartbeatReply,
        IssuedToken,
        Job,
        JobSpec,
        JobUpdate,
        LogHead,
        NewSchedule,
        NewToken,
        NewWebhook,
        Offer,
        Orders,
        Outcome,
        Problem,
        Queue,
        QueueChange,
        Ran,
        RegisteredWebhook,
        Registration,
        Repro,
        Schedule,
        ScheduleChange,
        Stats,
        TokenInfo,
        Updated,
        Upload,
        Usage,
        Webhook,
        Welcome,
        Worker,
    ]
}

/// Asks a type for its field names, which a derived `Deserialize` declares before it reads. A type with
/// flattened fields accepts any field and declares none.
struct Fields<'a>(&'a mut Option<&'static [&'static str]>);

impl Fields<'_> {
    fn of<T: DeserializeOwned>() -> Option<&'static [&'static str]> {
        let mut fields = None;
        let read = T::deserialize(Fields(&mut fields));
        assert!(read.is_err(), "it declared no fields");
        fields
    }
}

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(serde::de::Error::custom("only its fields are asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = Some(fields);
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn described(schema: &Value) -> BTreeSet<&str> {
    schema["properties"].as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect()
}

#[test]
fn every_body_that_is_described_is_of_a_type_and_has_its_fields() {
    let description = description();
    let schemas = description["components"]["schemas"].as_object().unwrap();
    let rows = rows();
    let names: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names, schemas.keys().map(String::as_str).collect());
    let (mut asked, mut wrong) = (0, Vec::new());
    for row in rows {
        if let Some(fields) = (row.fields)() {
            let fields: BTreeSet<_> = fields.iter().copied().collect();
            let described = described(&schemas[row.name]);
            if fields != described {
                wrong.push(format!("{} has {fields:?}, and {described:?} are described", row.name));
            }
            asked += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The others are flattened or no structs; the examples below cover them.
    assert!(asked >= 28, "{asked}");
}

/// Each example has every field, matches its schema, and is unchanged by a round trip.
#[test]
fn every_example_is_whole_and_read_by_its_type() {
    let description = description();
    let mut wrong = Vec::new();
    for Row { name, again, .. } in rows() {
        let schema = &description["components"]["schemas"][name];
        let [example] = &schema["examples"].as_array().unwrap()[..] else { panic!("{name}") };
        wrong.extend(
            faults(&description, schema, example).into_iter().map(|it| format!("{name}: {it}")),
        );
        let mut has: BTreeSet<_> =
            example.as_object().unwrap().keys().map(String::as_str).collect();
        if name == "JobSpec" {
            // Another name for `after`.
            has.insert("afterOk");
        }
        // These are unions of several types.
        if !matches!(name, "Outcome" | "ClaimRequest" | "Updated") && has != described(schema) {
            wrong.push(format!("{name}: {has:?} are not all"));
        }
        match again(example) {
            Ok(again) if again == *example => {}
            Ok(again) => wrong.push(format!("{name}: {example} comes back as {again}")),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
