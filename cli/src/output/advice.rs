//! What a job used of what it had, and what to ask for the next time.

use jiff::Timestamp;
use orchestra_contracts::{Attempt, JobSpec, Ran, Size, Usage};

use super::when;

const MIB: u64 = 1 << 20;
/// A job that is over so soon says nothing of how it uses the processor.
const TELLING_MS: u64 = 1000;

/// The facts, each with its name.
pub(crate) fn facts(usage: &Usage, attempt: Option<&Attempt>) -> Vec<(&'static str, String)> {
    let time = |millis: u64| when::millis(millis.into());
    let mut facts = Vec::new();
    let mut cpu = time(usage.cpu_ms);
    if let (Some(times @ 1..), Some(millis)) = (usage.throttles, usage.throttled_ms) {
        cpu = format!("{cpu}, throttled {times} times, {} in total", time(millis));
    }
    facts.push(("cpu time", cpu));
    if usage.peak_memory > 0 {
        let of = attempt.and_then(|it| it.ran.as_ref()).map(|ran| ran.memory.0 / MIB);
        let of = of.map_or_else(String::new, |most| format!(", of {most} MiB"));
        facts.push(("memory", format!("{} MiB at most{of}", usage.peak_memory.div_ceil(MIB))));
    }
    if let Some(attempt) = attempt {
        facts.push(("logged", format!("{} bytes", attempt.log_bytes)));
    }
    let phases = [
        ("queued", attempt.and_then(|it| it.queued_ms)),
        ("image", usage.image_ms),
        ("start", usage.start_ms),
        ("run", Some(usage.wall_ms)),
        ("drain", usage.drain_ms),
    ];
    facts.push(("phases", in_words(&phases)));
    facts
}

/// The phases of an attempt that its worker told nothing of, because it was lost or never got
/// so far, by the master's clock. Empty while the attempt goes on.
pub(crate) fn coarse_phases(attempt: &Attempt) -> Option<String> {
    let end = attempt.finished_at?;
    let between = |from: Timestamp, to: Timestamp| {
        Some(u64::try_from(to.duration_since(from).as_millis()).unwrap_or_default())
    };
    Some(in_words(&[
        ("queued", attempt.queued_ms),
        ("before the start", between(attempt.claimed_at, attempt.started_at.unwrap_or(end))),
        ("run", attempt.started_at.and_then(|start| between(start, end))),
    ]))
}

fn in_words(phases: &[(&str, Option<u64>)]) -> String {
    let told = phases.iter().filter_map(|(name, millis)| Some((name, (*millis)?)));
    let words = told.map(|(name, millis)| format!("{name} {}", when::millis(millis.into())));
    words.collect::<Vec<_>>().join(", ")
}

/// Sentences, where there is something to say.
pub(crate) fn advice(spec: &JobSpec, usage: &Usage, ran: Option<&Ran>) -> Vec<String> {
    let mut all = Vec::new();
    let peak = usage.peak_memory;
    if let Some(asked) = spec.resources.memory {
        let enough = comfortable(peak);
        if peak > 0 && enough.0 <= asked.0 / 2 {
            let (used, asked) = (peak.div_ceil(MIB), asked.0 / MIB);
            all.push(format!("asked {asked} MiB, used {used}: --memory {enough} would do"));
        }
    }
    if let Some(ran) = ran
        && peak > ran.memory.0 / 10 * 9
    {
        let (used, most) = (peak.div_ceil(MIB), ran.memory.0 / MIB);
        let more = Size(ran.memory.0.saturating_mul(2));
        all.push(format!("used {used} of {most} MiB: --memory {more} leaves room"));
    }
    if usage.wall_ms >= TELLING_MS {
        all.extend(of_processor(spec, usage, ran));
    }
    all
}

fn of_processor(spec: &JobSpec, usage: &Usage, ran: Option<&Ran>) -> Option<String> {
    let throttled = usage.throttled_ms.unwrap_or(0) * 100 / usage.wall_ms;
    let tenths = u32::try_from(usage.cpu_ms * 10 / usage.wall_ms).unwrap_or(u32::MAX);
    let busy = f64::from(tenths) / 10.0;
    match (spec.resources.cpus, ran) {
        (Some(asked), _) if asked > 1.0 && busy < asked / 2.0 => {
            Some(format!("asked {asked} cpus, kept {busy:.1} busy"))
        }
        (_, Some(ran)) if throttled >= 10 => Some(format!(
            "throttled for {throttled} % of its time at {} cpus: --cpus {} avoids this",
            ran.cpus,
            ran.cpus * 2.0
        )),
        _ => None,
    }
}

/// Half as much again, to the next power of two; what can be asked for begins at 16 MiB.
fn comfortable(peak: u64) -> Size {
    Size((peak + peak / 2).max(16 * MIB).next_power_of_two())
}

#[cfg(test)]
mod tests {
    use orchestra_contracts::{AttemptNo, Resources};

    use super::*;

    fn ran(memory: u64, cpus: f64) -> Ran {
        Ran {
            image: "a".to_owned(),
            image_id: "b".to_owned(),
            digest: None,
            user: "1:1".to_owned(),
            cpus,
            memory: Size::mib(memory),
            pids: 9,
            tmp: Size::mib(1),
            file_size: Size::mib(1),
            files: None,
            runtime: None,
            env: [].into(),
        }
    }

    fn asks(memory: Option<u64>, cpus: Option<f64>) -> JobSpec {
        let memory = memory.map(Size::mib);
        let resources = Resources { memory, cpus, ..Resources::default() };
        JobSpec { resources, ..JobSpec::new("true") }
    }

    fn used(mib: u64, cpu_ms: u64, throttled_ms: u64) -> Usage {
        let (peak_memory, throttled_ms) = (mib * MIB, Some(throttled_ms));
        Usage { cpu_ms, peak_memory, wall_ms: 10_000, throttled_ms, ..Usage::default() }
    }

    #[test]
    fn who_asks_for_much_more_than_it_uses_is_told() {
        let said = |spec: &JobSpec, usage| advice(spec, &usage, Some(&ran(512, 1.0)));
        assert_eq!(
            said(&asks(Some(512), None), used(41, 1, 0)),
            ["asked 512 MiB, used 41: --memory 64m would do"]
        );
        assert_eq!(said(&asks(None, None), used(41, 1, 0)), <[&str; 0]>::default());
        assert_eq!(said(&asks(Some(512), None), used(300, 1, 0)), <[&str; 0]>::default());
        assert_eq!(
            said(&asks(None, None), used(500, 1, 0)),
            ["used 500 of 512 MiB: --memory 1g leaves room"]
        );
        assert_eq!(
            said(&asks(None, Some(4.0)), used(41, 11_000, 0)),
            ["asked 4 cpus, kept 1.1 busy"]
        );
        assert_eq!(
            said(&asks(None, None), used(41, 5_000, 4_000)),
            ["throttled for 40 % of its time at 1 cpus: --cpus 2 avoids this"]
        );
        let short = Usage { wall_ms: 100, ..used(41, 50, 40) };
        assert_eq!(said(&asks(None, None), short), <[&str; 0]>::default());
    }

    #[test]
    fn an_attempt_without_usage_has_the_phases_that_the_master_saw() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let lost = Attempt {
            number: AttemptNo(1),
            worker: "w".parse().unwrap(),
            claimed_at: at("2026-01-02T03:04:05Z").unwrap(),
            started_at: at("2026-01-02T03:04:06.5Z"),
            finished_at: at("2026-01-02T03:05:06.5Z"),
            outcome: None,
            reason: None,
            exit_code: None,
            usage: None,
            log_bytes: 0,
            queued_ms: Some(250),
            ran: None,
        };
        let said = coarse_phases(&lost);
        assert_eq!(said.as_deref(), Some("queued 250ms, before the start 1.5s, run 1m 0s"));
        let never = Attempt { started_at: None, queued_ms: None, ..lost.clone() };
        assert_eq!(coarse_phases(&never).as_deref(), Some("before the start 1m 1s"));
        assert_eq!(coarse_phases(&Attempt { finished_at: None, ..lost }), None);
    }

    #[test]
    fn phases_that_nobody_saw_are_left_out() {
        let usage = Usage { start_ms: Some(110), throttles: Some(2), ..used(41, 1500, 300) };
        let facts = facts(&usage, None);
        assert_eq!(facts[0], ("cpu time", "1.5s, throttled 2 times, 300ms in total".to_owned()));
        assert_eq!(facts[1], ("memory", "41 MiB at most".to_owned()));
        assert_eq!(facts[2], ("phases", "start 110ms, run 10.0s".to_owned()));
    }
}
