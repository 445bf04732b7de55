//! I6: the stored log equals what was written, and readers saw what is stored.

use orchestra_contracts::{AttemptNo, Blame, JobId, Outcome, frame::Stream};

use super::{
    End, Index, Invariant, JobEnd, Judgement, Piece, What,
    content::{difference, length},
};

pub(super) fn check(history: &Index<'_>, end: &End, found: &mut Judgement) {
    for end in &end.jobs {
        stored(history, end, found);
    }
    followed(history, found);
}

fn stored(history: &Index<'_>, end: &JobEnd, found: &mut Judgement) {
    let id = end.job.id;
    for attempt in &end.attempts {
        let Some(log) = end.log(attempt.number) else { continue };
        if attempt.log_bytes != length(log) {
            let sentence = format!(
                "the log of attempt {} has {} bytes, and is said to have {}",
                attempt.number,
                length(log),
                attempt.log_bytes
            );
            found.broken(Invariant::I6, id, sentence);
        }
        let Some((stdout, stderr)) = written(history, id, attempt.number) else { continue };
        found.looked(Invariant::I6, 1);
        let whole = attempt.outcome.as_ref().is_some_and(is_own_end);
        if let Some(difference) = difference(log, &stdout, &stderr, whole) {
            let sentence = format!("the log of attempt {}: {difference}", attempt.number);
            found.broken(Invariant::I6, id, sentence);
        }
    }
}

/// Whether the command ran to its own end, so that its output is complete.
fn is_own_end(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Exited { .. })
        || (matches!(outcome, Outcome::Signalled { .. }) && outcome.blame() == Blame::Command)
}

/// The recorded output of an attempt's command; `None` when none was recorded.
fn written(history: &Index<'_>, id: JobId, number: AttemptNo) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut all: Option<(Vec<u8>, Vec<u8>)> = None;
    for (_, what) in history.of(id) {
        let What::Wrote { attempt, content, .. } = what else { continue };
        if attempt.is_none_or(|attempt| attempt == number) {
            let (stdout, stderr) = all.get_or_insert_default();
            stdout.extend_from_slice(&content.stdout.bytes());
            stderr.extend_from_slice(&content.stderr.bytes());
        }
    }
    all
}

fn followed(history: &Index<'_>, found: &mut Judgement) {
    for (_, what) in history.all() {
        let What::Followed { job, log, whole } = what else { continue };
        let Some(end) = history.end(*job) else { continue };
        for (number, stored) in &end.logs {
            let seen = log.iter().find(|(of, _)| of == number).map(|(_, seen)| seen.as_slice());
            if seen.is_none() && !whole {
                continue;
            }
            found.looked(Invariant::I6, 1);
            let (seen, stored) = (merged(seen.unwrap_or_default()), merged(stored));
            if !is_beginning(&seen, &stored) || (*whole && seen != stored) {
                let sentence = format!(
                    "a reader of attempt {number} saw {} bytes that are not the {} stored ones{}",
                    length(&seen),
                    length(&stored),
                    if *whole { "" } else { " from the first on" },
                );
                found.broken(Invariant::I6, *job, sentence);
            }
        }
    }
}

/// The same log with adjacent pieces joined, so that logs cut differently compare equal.
fn merged(log: &[Piece]) -> Vec<Piece> {
    let mut whole: Vec<(Option<Stream>, Vec<u8>, u64)> = Vec::new();
    for piece in log {
        let (stream, bytes, gap) = match piece {
            Piece::Bytes(stream, bytes) => (Some(*stream), &bytes[..], 0),
            Piece::Gap(left_out) => (None, &[][..], *left_out),
        };
        match whole.last_mut().filter(|(of, ..)| *of == stream) {
            Some((_, all, left_out)) => {
                all.extend_from_slice(bytes);
                *left_out += gap;
            }
            None => whole.push((stream, bytes.to_vec(), gap)),
        }
    }
    let pieces = whole.into_iter().map(|(stream, bytes, gap)| match stream {
        Some(stream) => Piece::Bytes(stream, bytes.into()),
        None => Piece::Gap(gap),
    });
    pieces.collect()
}

/// Whether `seen` is a prefix of `stored`. Both must be merged.
fn is_beginning(seen: &[Piece], stored: &[Piece]) -> bool {
    let Some((last, before)) = seen.split_last() else { return true };
    stored.starts_with(before)
        && match (last, stored.get(before.len())) {
            (Piece::Bytes(of, bytes), Some(Piece::Bytes(stream, all))) => {
                of == stream && all.starts_with(bytes)
            }
            (Piece::Gap(seen), Some(Piece::Gap(all))) => seen <= all,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::{AttemptNo, JobId, Outcome, frame::Stream};

    use super::super::{Content, Invariant::I6, Piece, Text, What, testing::Scene};

    const ONE: AttemptNo = AttemptNo(1);

    fn out(text: &str) -> Piece {
        Piece::Bytes(Stream::Stdout, text.to_owned().into())
    }

    fn err(text: &str) -> Piece {
        Piece::Bytes(Stream::Stderr, text.to_owned().into())
    }

    #[test]
    fn lost_doubled_and_swapped_lines_are_seen() {
        for wrong in
            ["line 1\nline 3\n", "line 1\nline 2\nline 2\nline 3\n", "line 2\nline 1\nline 3\n"]
        {
            let mut scene = Scene::good();
            scene.log(vec![out(wrong)]);
            scene.breaks(I6);
        }
    }

    #[test]
    fn a_log_may_end_early_only_when_its_command_was_stopped() {
        let mut scene = Scene::good();
        scene.log(vec![out("line 1\nli")]);
        scene.breaks(I6);
        for outcome in [Outcome::Lost, Outcome::TimedOut, Outcome::Cancelled] {
            scene.end.jobs[0].attempts[0].outcome = Some(outcome.clone());
            let broken = scene.check().violations;
            assert!(broken.iter().all(|violation| violation.invariant != I6), "{broken:?}");
        }
    }

    #[test]
    fn a_gap_stands_for_as_many_bytes_as_are_missing() {
        let mut scene = Scene::good();
        scene.log(vec![out("line 1\n"), Piece::Gap(7), out("line 3\n")]);
        assert_eq!(scene.check().violations, []);
        for gap in [6, 8] {
            scene.log(vec![out("line 1\n"), Piece::Gap(gap), out("line 3\n")]);
            scene.breaks(I6);
        }
    }

    #[test]
    fn the_two_streams_are_told_apart() {
        let mut scene = Scene::good();
        let content = Content { stdout: Text::default(), stderr: Text::Text("oh\n".to_owned()) };
        scene.then(What::Wrote { job: JobId(1), attempt: Some(ONE), content });
        scene.log(vec![out("line 1\nline 2\n"), err("oh\n"), out("line 3\n")]);
        assert_eq!(scene.check().violations, []);
        scene.log(vec![out("line 1\nline 2\noh\n"), out("line 3\n")]);
        scene.breaks(I6);
        scene.log(vec![out("line 1\n"), Piece::Gap(7), err("oh\n"), out("line 3\n")]);
        assert_eq!(scene.check().violations, []);
        scene.log(vec![out("line 1\n"), Piece::Gap(10), out("line 4\n")]);
        scene.breaks(I6);
    }

    #[test]
    fn our_own_lines_are_not_the_commands() {
        let mut scene = Scene::good();
        let ours = Piece::Bytes(Stream::System, "ended".into());
        scene.log(vec![out("line 1\nline 2\nline 3\n"), ours]);
        assert_eq!(scene.check().violations, []);
    }

    #[test]
    fn the_length_is_as_it_is_said_to_be() {
        let mut scene = Scene::good();
        scene.end.jobs[0].attempts[0].log_bytes = 1;
        scene.breaks(I6);
    }

    #[test]
    fn a_reader_sees_what_is_stored_however_it_is_cut() {
        let follow = |pieces: Vec<Piece>, whole| {
            let mut scene = Scene::good();
            scene.then(What::Followed { job: JobId(1), log: vec![(ONE, pieces)], whole });
            scene
        };
        let good = follow(vec![out("line 1\nli"), out("ne 2\nline 3\n")], true);
        assert_eq!(good.check().violations, []);
        assert_eq!(follow(vec![out("line 1\nli")], false).check().violations, []);
        follow(vec![out("line 1\nli")], true).breaks(I6);
        follow(vec![], true).breaks(I6);
        follow(vec![out("line 1\nline 1\n")], false).breaks(I6);
        follow(vec![out("line 2\n")], false).breaks(I6);
    }
}
