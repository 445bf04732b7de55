//! How many sandboxes a worker keeps started ahead of their jobs.

/// Suits a worker that runs few jobs at once: a person who tries things out submits one or two.
/// Each warm sandbox takes memory while it waits (`docs/operations.md`).
const LEAST: u32 = 2;

/// How many sandboxes wait for jobs.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct WarmConfig {
    /// How many warm sandboxes to keep for the image that was used last; 0 turns them off [default:
    /// 2, but at most the number of slots]
    #[arg(long, env = "ORCHESTRA_WARM", value_name = "COUNT")]
    pub warm: Option<u32>,

    /// How many warm sandboxes there may be for all images together [default: the number of slots]
    #[arg(long, env = "ORCHESTRA_MAX_WARM", value_name = "COUNT")]
    pub max_warm: Option<u32>,
}

impl WarmConfig {
    /// For a program that runs just one job.
    pub const NONE: Self = Self { warm: Some(0), max_warm: None };

    /// The minimum and maximum for a worker with this many slots. More than can start at once are
    /// useless, so the maximum exceeds the slots only if the settings say so.
    pub(crate) fn bounds(&self, slots: u32) -> (usize, usize) {
        let least = self.warm.unwrap_or(LEAST.min(slots).min(self.max_warm.unwrap_or(LEAST)));
        let most = if least == 0 { 0 } else { self.max_warm.unwrap_or(slots).max(least) };
        (least as usize, most as usize)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing_said(None, None, 8, (2, 8))]
    #[case::one_slot(None, None, 1, (1, 1))]
    #[case::off(Some(0), Some(9), 8, (0, 0))]
    #[case::more_than_slots(Some(5), None, 2, (5, 5))]
    #[case::no_more_than(None, Some(1), 8, (1, 1))]
    #[case::none_at_most(None, Some(0), 8, (0, 0))]
    fn what_is_not_said_follows_from_the_slots(
        #[case] warm: Option<u32>,
        #[case] max_warm: Option<u32>,
        #[case] slots: u32,
        #[case] bounds: (usize, usize),
    ) {
        assert_eq!(WarmConfig { warm, max_warm }.bounds(slots), bounds);
    }
}
