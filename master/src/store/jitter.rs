//! Jitter for the jobs of a lost worker, so that their retries do not all start at one moment.

/// Jitter for one of several jobs that draw together: multiples of the golden
/// ratio fall evenly between 0 and 1.
pub(super) fn spread(jitter: f64, id: i64) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    // Few bits suffice, and they survive the multiplication.
    let step = f64::from(id as u16);
    (jitter + step * GOLDEN).fract()
}
