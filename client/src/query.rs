//! The parameters for lists and logs.

use orchestra_contracts::{AttemptNo, Job, JobId, JobStatus, WorkerName, frame::Stream};

/// Which jobs to list, and which page of them. The default is all jobs, oldest first.
#[derive(Clone, Debug, Default)]
pub struct JobQuery {
    /// Any of these; empty for all.
    pub statuses: Vec<JobStatus>,
    pub queue: Option<String>,
    /// All of these.
    pub labels: Vec<(String, String)>,
    pub worker: Option<WorkerName>,
    /// Text in the command or the name; case-insensitive.
    pub text: Option<String>,
    /// Only jobs of the array with this id.
    pub array: Option<JobId>,
    pub order: ListOrder,
    /// The most jobs on one page; `None` means every job.
    pub limit: Option<u32>,
    /// [`Page::next`] of the previous page.
    pub cursor: Option<String>,
}

/// The order, by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListOrder {
    #[default]
    Oldest,
    Newest,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    pub jobs: Vec<Job>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<String>,
}

/// Which part of a job's log to read, and in which form.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogQuery {
    /// All attempts, in order, if absent.
    pub attempt: Option<AttemptNo>,
    /// All three if absent.
    pub stream: Option<Stream>,
    /// Only this many of the last lines.
    pub tail: Option<u32>,
    /// Start each line with its time.
    pub timestamps: bool,
    /// Keep the answer open until the job has ended.
    pub follow: bool,
}

type Pairs = Vec<(&'static str, String)>;

impl JobQuery {
    pub(crate) fn pairs(&self) -> Pairs {
        let mut pairs = Pairs::new();
        pairs.extend(self.statuses.iter().map(|status| ("status", status.to_string())));
        pairs.extend(self.queue.iter().map(|queue| ("queue", queue.clone())));
        pairs.extend(self.labels.iter().map(|(key, value)| ("label", format!("{key}={value}"))));
        pairs.extend(self.worker.iter().map(|worker| ("worker", worker.to_string())));
        pairs.extend(self.text.iter().map(|text| ("q", text.clone())));
        pairs.extend(self.array.map(|array| ("array", array.to_string())));
        if self.order == ListOrder::Newest {
            pairs.push(("order", "newest".to_owned()));
        }
        pairs.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        pairs.extend(self.cursor.iter().map(|cursor| ("cursor", cursor.clone())));
        pairs
    }
}

impl LogQuery {
    pub(crate) fn pairs(&self) -> Pairs {
        let mut pairs = Pairs::new();
        pairs.extend(self.attempt.map(|attempt| ("attempt", attempt.to_string())));
        pairs.extend(self.stream.map(|stream| ("stream", stream.as_str().to_owned())));
        pairs.extend(self.tail.map(|lines| ("tail", lines.to_string())));
        if self.timestamps {
            pairs.push(("timestamps", "true".to_owned()));
        }
        if self.follow {
            pairs.push(("follow", "true".to_owned()));
        }
        pairs
    }
}

/// The cursor in a `Link: <...&cursor=...>; rel="next"` header (RFC 8288).
pub(crate) fn next_cursor(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let target = next.split_once('<')?.1.split_once('>')?.0;
    // The target may be relative; any base lets it be parsed.
    let base = reqwest::Url::parse("http://master/").ok()?;
    let target = base.join(target).ok()?;
    target.query_pairs().find(|(key, _)| key == "cursor").map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_read_from_the_link() {
        let next = next_cursor("</api/job?limit=2&cursor=a%2Bb>; rel=\"next\"");
        assert_eq!(next.as_deref(), Some("a+b"));
        let next =
            next_cursor("<http://m:1/x>; rel=\"first\", <http://m:1/y?cursor=9>; rel=\"next\"");
        assert_eq!(next.as_deref(), Some("9"));
        for link in ["", "</api/job>; rel=\"next\"", "cursor=3; rel=\"next\""] {
            assert_eq!(next_cursor(link), None, "{link}");
        }
    }
}
