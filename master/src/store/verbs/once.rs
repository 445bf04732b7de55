//! Idempotency keys: recognises repeated submissions.

use std::collections::{HashMap, hash_map::Entry};

use orchestra_contracts::{JobId, TokenId};
use serde::Serialize;

use super::insert::Insert;
use crate::store::{
    Fingerprint, KEYS_KEPT, Once, StoreError, Submitted,
    connection::{Connection, values},
    rows::to_json,
    statement::{Statement, statement},
};

const FORGET: Statement = Statement::plain("DELETE FROM submission WHERE created_at <= $1");

const KNOWN: Statement = statement!(
    (call bigint, token bigint, key text)
    "SELECT r.call, s.fingerprint, s.jobs
    FROM " rows "
    JOIN submission AS s ON s.token = r.token AND s.key = r.key");

const REMEMBER: Statement = statement!(
    (token bigint, key text, fingerprint text, jobs text, created_at bigint)
    "INSERT INTO submission (token, key, fingerprint, jobs, created_at)
    SELECT r.token, r.key, r.fingerprint, r.jobs,
           r.created_at
    FROM " rows "");

/// A call, compared with earlier ones and those of the same transaction.
pub(in crate::store) enum Fate {
    New,
    Known(Submitted),
    /// A repetition of the call at this position.
    AsCall(usize),
}

#[derive(Serialize)]
struct Key<'a> {
    token: i64,
    key: &'a str,
}

#[derive(Serialize)]
struct Question<'a> {
    call: usize,
    #[serde(flatten)]
    key: Key<'a>,
}

#[derive(Serialize)]
struct NewKey<'a> {
    #[serde(flatten)]
    key: Key<'a>,
    fingerprint: String,
    jobs: String,
    created_at: i64,
}

/// Classifies the calls. Drops keys that are older than [`KEYS_KEPT`].
pub(in crate::store) async fn fates(
    connection: &mut Connection,
    calls: &[Insert],
) -> Result<Vec<Fate>, StoreError> {
    if calls.iter().all(|call| call.once.is_none()) {
        return Ok(calls.iter().map(|_| Fate::New).collect());
    }
    let now = calls.iter().map(|call| call.now).max().unwrap_or_default();
    let forget = now.as_millisecond().saturating_sub(KEYS_KEPT.as_millis());
    connection.change(FORGET, values![forget]).await?;
    let mut known = known(connection, calls).await?;
    let mut first: HashMap<(Option<TokenId>, &str), usize> = HashMap::new();
    let mut fates = Vec::with_capacity(calls.len());
    for (index, call) in calls.iter().enumerate() {
        let Some(once) = &call.once else {
            fates.push(Fate::New);
            continue;
        };
        fates.push(match (known.remove(&index), first.entry((once.token, once.key.as_str()))) {
            (Some(known), _) => Fate::Known(known),
            (None, Entry::Vacant(_)) if call.jobs.is_empty() => Fate::New,
            (None, Entry::Vacant(place)) => {
                place.insert(index);
                Fate::New
            }
            (None, Entry::Occupied(first)) => {
                let earlier = calls[*first.get()].once.as_ref();
                if earlier.is_some_and(|earlier| earlier.fingerprint == once.fingerprint) {
                    Fate::AsCall(*first.get())
                } else {
                    Fate::Known(Submitted::Differs)
                }
            }
        });
    }
    Ok(fates)
}

/// The earlier submissions with the same keys, by the position of the call.
async fn known(
    connection: &mut Connection,
    calls: &[Insert],
) -> Result<HashMap<usize, Submitted>, StoreError> {
    let keyed: Vec<(usize, &Once)> = calls
        .iter()
        .enumerate()
        .filter_map(|(index, call)| Some((index, call.once.as_ref()?)))
        .collect();
    let keys: Vec<Question<'_>> =
        keyed.into_iter().map(|(call, once)| Question { call, key: key(once) }).collect();
    let rows: Vec<(i64, String, String)> = connection.all(KNOWN, values![to_json(&keys)]).await?;
    let mut known = HashMap::new();
    for (call, fingerprint, jobs) in rows {
        let index = call as usize;
        let Some(once) = calls.get(index).and_then(|call| call.once.as_ref()) else { continue };
        let answer = if fingerprint == hex::encode(once.fingerprint.0) {
            Submitted::Before(serde_json::from_str(&jobs).map_err(|error| corrupt(&error))?)
        } else {
            Submitted::Differs
        };
        known.insert(index, answer);
    }
    Ok(known)
}

fn corrupt(error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { table: "submission", id: 0, reason: error.to_string() }
}

/// Stores the keys of new submissions.
pub(in crate::store) async fn remember(
    connection: &mut Connection,
    calls: &[Insert],
    answers: &[Submitted],
) -> Result<(), StoreError> {
    let new = calls.iter().zip(answers).filter_map(|(call, answer)| match (&call.once, answer) {
        (Some(once), Submitted::New(jobs)) if !jobs.is_empty() => {
            let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
            let Fingerprint(fingerprint) = once.fingerprint;
            Some(NewKey {
                key: key(once),
                fingerprint: hex::encode(fingerprint),
                jobs: to_json(&ids),
                created_at: call.now.as_millisecond(),
            })
        }
        _ => None,
    });
    let new: Vec<NewKey<'_>> = new.collect();
    if !new.is_empty() {
        connection.change(REMEMBER, values![to_json(&new)]).await?;
    }
    Ok(())
}

/// Callers without a token share one owner number; token ids begin with 1.
fn key(once: &Once) -> Key<'_> {
    Key { token: once.token.map_or(0, |token| token.0), key: once.key.as_str() }
}
