//! The arithmetic: percentiles of samples taken in blocks, and the spread between blocks.

/// Samples of one quantity, block by block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    blocks: Vec<Vec<f64>>,
}

impl Samples {
    pub(crate) const fn new() -> Self {
        Self { blocks: Vec::new() }
    }

    pub(crate) fn add_block(&mut self, block: Vec<f64>) {
        if !block.is_empty() {
            self.blocks.push(block);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }

    /// All samples, sorted.
    pub(crate) fn sorted(&self) -> Vec<f64> {
        let mut all: Vec<f64> = self.blocks.iter().flatten().copied().collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// The value that this many percent of the samples do not exceed; 0 without samples.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        percentile(&self.sorted(), percent)
    }

    pub(crate) fn median(&self) -> f64 {
        self.percentile(50.0)
    }

    /// The lowest and highest median of a block. Their distance shows other load on the machine.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let mut medians: Vec<f64> = self.blocks.iter().map(|block| median_of(block)).collect();
        medians.sort_by(f64::total_cmp);
        (medians.first().copied().unwrap_or_default(), medians.last().copied().unwrap_or_default())
    }

    /// Ours divided by theirs: of the medians of all samples, with the lowest and highest ratio of
    /// blocks that were measured next to each other.
    pub(crate) fn ratio_to(&self, others: &Self) -> Ratio {
        let mut pairs: Vec<f64> = self
            .blocks
            .iter()
            .zip(&others.blocks)
            .map(|(ours, theirs)| median_of(ours) / median_of(theirs))
            .collect();
        pairs.sort_by(f64::total_cmp);
        let of = self.median() / others.median();
        let edge = |edge: Option<&f64>| edge.copied().unwrap_or(of);
        Ratio { of, lowest: edge(pairs.first()), highest: edge(pairs.last()) }
    }
}

impl FromIterator<Vec<f64>> for Samples {
    fn from_iter<I: IntoIterator<Item = Vec<f64>>>(blocks: I) -> Self {
        let mut samples = Self::default();
        blocks.into_iter().for_each(|block| samples.add_block(block));
        samples
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) of: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ({:.3} to {:.3})", self.of, self.lowest, self.highest)
    }
}

fn median_of(block: &[f64]) -> f64 {
    let mut sorted = block.to_vec();
    sorted.sort_by(f64::total_cmp);
    percentile(&sorted, 50.0)
}

/// Percentile by nearest rank: always a measured value, never an interpolated one.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let samples: Samples = [vec![4.0, 1.0], vec![3.0, 2.0]].into_iter().collect();
        assert_eq!(samples.sorted(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!((samples.percentile(50.0), samples.percentile(51.0)), (2.0, 3.0));
        assert_eq!((samples.percentile(0.0), samples.percentile(99.0)), (1.0, 4.0));
        assert_eq!((samples.spread(), samples.count()), ((1.0, 2.0), 4));
        assert_eq!((Samples::default().median(), Samples::default().count()), (0.0, 0));
    }

    #[test]
    fn ratios_are_of_blocks_that_stood_side_by_side() {
        let ours: Samples = [vec![1.0], vec![4.0], vec![1.0]].into_iter().collect();
        let theirs: Samples = [vec![2.0], vec![4.0], vec![4.0]].into_iter().collect();
        let ratio = ours.ratio_to(&theirs);
        assert_eq!(ratio, Ratio { of: 0.25, lowest: 0.25, highest: 1.0 });
    }
}
