//! I10: the API never answers with a server error, and no program panics.

use super::{Index, Invariant, Judgement, What};

pub(super) fn check(history: &Index<'_>, found: &mut Judgement) {
    for (at, what) in history.all() {
        match what {
            What::Answers { count } => found.looked(Invariant::I10, *count as usize),
            What::ServerError { status, path, retry_after } => {
                found.looked(Invariant::I10, 1);
                if *status != 503 {
                    found.broken(Invariant::I10, None, format!("{path}: {status} at {at:?}"));
                } else if !retry_after {
                    let sentence = format!("{path}: 503 without Retry-After at {at:?}");
                    found.broken(Invariant::I10, None, sentence);
                }
            }
            What::Printed { program, panic } => {
                found.looked(Invariant::I10, 1);
                if let Some(panic) = panic {
                    found.broken(Invariant::I10, None, format!("{program} panicked: {panic}"));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Invariant::I10, What, testing::Scene};

    fn error(status: u16, retry_after: bool) -> What {
        What::ServerError { status, path: "/api/job".to_owned(), retry_after }
    }

    #[test]
    fn an_internal_error_is_seen() {
        let mut scene = Scene::good();
        scene.then(error(500, false));
        scene.breaks(I10);
    }

    #[test]
    fn unavailable_says_when_to_ask_again() {
        let mut scene = Scene::good();
        scene.then(error(503, true));
        assert_eq!(scene.check().violations, []);
        scene.then(error(503, false));
        scene.breaks(I10);
    }

    #[test]
    fn a_panic_is_seen() {
        let mut scene = Scene::good();
        let panic = Some("thread 'main' panicked at worker/src/run.rs".to_owned());
        scene.then(What::Printed { program: "worker".to_owned(), panic });
        scene.breaks(I10);
    }
}
