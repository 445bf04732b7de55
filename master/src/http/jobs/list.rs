//! `GET /api/job` and `GET /api/job/pending`
//!
//! With `limit`, one page and a link to the next. Without it, all jobs, streamed.

use std::{num::NonZeroU32, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use orchestra_contracts::{Job, JobId, JobStatus};

use crate::{
    http::{
        error::ApiError,
        extract::{FromQuery, Json, NoQuery, Pairs, Query},
    },
    service::{Service, ServiceError},
    store::{JobFilter, ListOrder},
};

const MAX_LIMIT: u32 = 1000;
const MAX_TEXT: usize = 256;

pub(in crate::http) struct List {
    filter: JobFilter,
    is_page: bool,
}

impl List {
    /// The filter. Its limit is 0 if none was given.
    pub(in crate::http) fn filter(self) -> JobFilter {
        self.filter
    }
}

impl FromQuery for List {
    const NAMES: &'static [&'static str] =
        &["status", "queue", "label", "worker", "q", "array", "order", "limit", "cursor"];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        let statuses: Result<Vec<JobStatus>, _> = pairs.words("status").map(str::parse).collect();
        let limit = limit(pairs)?;
        let filter = JobFilter {
            statuses: statuses.map_err(ApiError::parameter)?,
            queue: pairs.one("queue")?.map(str::to_owned),
            labels: pairs.all("label").map(label).collect::<Result<_, _>>()?,
            worker: pairs.parsed("worker", "a worker name")?,
            text: text(pairs)?,
            array: pairs.parsed("array", "the id of an array")?,
            order: order(pairs)?,
            after: pairs.parsed::<JobId>("cursor", "a cursor from a Link header")?,
            limit: limit.unwrap_or_default(),
        };
        Ok(Self { filter, is_page: limit.is_some() })
    }
}

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    Query(list): Query<List>,
    uri: Uri,
) -> Result<Response, ApiError> {
    if !list.is_page {
        return everything(service, list.filter).await;
    }
    let page = service.page(&list.filter).await?;
    let mut response = Json(page.jobs).into_response();
    if let Some(link) = page.next.and_then(|last| link(&uri, last)) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// Pending jobs in claiming order.
pub(super) async fn pending(
    State(service): State<Arc<Service>>,
    _: NoQuery,
) -> Result<Response, ApiError> {
    let statuses = vec![JobStatus::Pending];
    everything(service, JobFilter { statuses, order: ListOrder::Claiming, ..JobFilter::default() })
        .await
}

/// Reads the first page before the response begins, so that an unavailable database gets a 503 and
/// not a truncated list.
async fn everything(service: Arc<Service>, filter: JobFilter) -> Result<Response, ApiError> {
    let mut jobs = Box::pin(service.all_jobs(filter));
    let first = jobs.try_next().await?;
    let all = stream::iter(first.map(Ok)).chain(jobs);
    let body = Body::from_stream(json_array(all));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// An error ends the stream without the closing bracket, and so breaks the connection.
fn json_array(
    jobs: impl Stream<Item = Result<Job, ServiceError>>,
) -> impl Stream<Item = Result<Bytes, ServiceError>> {
    let items = jobs.enumerate().map(|(index, job)| {
        let mut text = if index == 0 { Vec::new() } else { vec![b','] };
        text.extend(serde_json::to_vec(&job?).unwrap_or_default());
        Ok(Bytes::from(text))
    });
    let bracket = |text| stream::iter([Ok(Bytes::from_static(text))]);
    bracket(b"[").chain(items).chain(bracket(b"]"))
}

/// The address of the next page, after the last job of this one.
fn link(uri: &Uri, last: JobId) -> Option<HeaderValue> {
    let query = uri.query().unwrap_or_default();
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let query: String = kept.flat_map(|pair| [pair, "&"]).collect();
    HeaderValue::try_from(format!("<{}?{query}cursor={last}>; rel=\"next\"", uri.path())).ok()
}

fn limit(pairs: &Pairs) -> Result<Option<u32>, ApiError> {
    let is = "a number from 1 to 1000";
    let limit = pairs.parsed::<NonZeroU32>("limit", is)?.map(NonZeroU32::get);
    match limit {
        Some(limit) if limit > MAX_LIMIT => {
            Err(ApiError::parameter(format!("limit={limit} is not {is}")))
        }
        limit => Ok(limit),
    }
}

fn label(text: &str) -> Result<(String, String), ApiError> {
    let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.ok_or_else(|| ApiError::parameter(format!("label={text:?} is not like label=key=value")))
}

fn text(pairs: &Pairs) -> Result<Option<String>, ApiError> {
    match pairs.one("q")? {
        Some(text) if text.len() > MAX_TEXT => {
            Err(ApiError::parameter(format!("q has more than {MAX_TEXT} bytes")))
        }
        text => Ok(text.filter(|text| !text.is_empty()).map(str::to_owned)),
    }
}

fn order(pairs: &Pairs) -> Result<ListOrder, ApiError> {
    match pairs.one("order")? {
        None | Some("oldest") => Ok(ListOrder::Oldest),
        Some("newest") => Ok(ListOrder::Newest),
        Some(other) => {
            Err(ApiError::parameter(format!("order={other:?} is neither oldest nor newest")))
        }
    }
}
