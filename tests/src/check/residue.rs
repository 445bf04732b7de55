//! I7, I8: nothing is left behind, and nothing exceeds its bound.

use super::{End, Index, Invariant, Judgement, Limits, Phase, What};

pub(super) fn check(history: &Index<'_>, end: &End, limits: &Limits, found: &mut Judgement) {
    if let Some(left) = &end.left {
        found.looked(Invariant::I7, 1);
        for thing in left {
            found.broken(Invariant::I7, None, format!("{thing} was left behind"));
        }
    }
    bounds(history, limits, found);
    growth(history, limits, found);
}

fn bounds(history: &Index<'_>, limits: &Limits, found: &mut Judgement) {
    for (at, what) in history.all() {
        let (name, bytes, limit) = match what {
            What::Measured { program, memory, .. } => (program, *memory, limits.memory),
            What::Stored { what_of, bytes, limit } => (what_of, *bytes, *limit),
            _ => continue,
        };
        found.looked(Invariant::I8, 1);
        if bytes > limit {
            let sentence = format!("{name} took {bytes} bytes at {at:?}, more than {limit}");
            found.broken(Invariant::I8, None, sentence);
        }
    }
}

fn growth(history: &Index<'_>, limits: &Limits, found: &mut Judgement) {
    for (_, what) in history.all() {
        let What::Measured { program, phase: Phase::Before, memory, files, threads } = what else {
            continue;
        };
        let Some(after) = last(history, program) else { continue };
        found.looked(Invariant::I7, 1);
        let share = *memory / 100 * limits.growth_percent;
        let room = [share.max(limits.growth_bytes), limits.growth_handles, limits.growth_handles];
        let before = [*memory, *files, *threads];
        let names = ["bytes of memory", "open files", "threads"];
        for (index, name) in names.into_iter().enumerate() {
            let (before, after) = (before[index], after[index]);
            if after > before + room[index] {
                let sentence = format!("{program} went from {before} to {after} {name}");
                found.broken(Invariant::I7, None, sentence);
            }
        }
    }
}

/// The last measured memory, open files and threads.
fn last(history: &Index<'_>, of: &str) -> Option<[u64; 3]> {
    let after = history.all().filter_map(|(_, what)| match what {
        What::Measured { program, phase: Phase::After, memory, files, threads }
            if program == of =>
        {
            Some([*memory, *files, *threads])
        }
        _ => None,
    });
    after.last()
}

#[cfg(test)]
mod tests {
    use super::super::{
        Invariant::{I7, I8},
        Phase, What,
        testing::Scene,
    };

    const MIB: u64 = 1024 * 1024;

    fn measured(phase: Phase, memory: u64, files: u64, threads: u64) -> What {
        What::Measured { program: "master".to_owned(), phase, memory, files, threads }
    }

    #[test]
    fn what_is_left_is_seen() {
        let mut scene = Scene::good();
        scene.end.left = Some(vec!["container orch-1-1".to_owned()]);
        scene.breaks(I7);
    }

    #[test]
    fn a_program_that_grows_is_seen() {
        for (memory, files, threads) in [(60, 10, 4), (40, 40, 4), (40, 10, 40)] {
            let mut scene = Scene::good();
            scene.then(measured(Phase::After, memory * MIB, files, threads));
            scene.breaks(I7);
        }
    }

    #[test]
    fn a_flood_that_fills_the_memory_is_seen() {
        let mut scene = Scene::good();
        scene.then(measured(Phase::During, 4096 * MIB, 10, 4));
        scene.breaks(I8);
    }

    #[test]
    fn a_store_over_its_bound_is_seen() {
        let mut scene = Scene::good();
        scene.then(What::Stored { what_of: "orchestra.db".to_owned(), bytes: 11, limit: 10 });
        scene.breaks(I8);
    }
}
