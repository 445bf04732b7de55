//! The source of all randomness of a run: its seed.
//!
//! The harness draws from a [`Chance`]. The programs under test draw tokens, jitter and the order
//! of hash maps from the system. So on a thread that runs a simulation, the system's source,
//! `getrandom(2)`, is answered from the seed as well.

use std::{
    cell::Cell,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};

thread_local! {
    /// State of the generator that answers on this thread; `None` where no simulation runs.
    static SYSTEM: Cell<Option<u64>> = const { Cell::new(None) };
}

/// From now on, the system's random numbers on this thread follow from the seed. This must come
/// before anything is drawn on the thread, so each run has a thread of its own.
pub fn seed_this_thread(seed: u64) {
    SYSTEM.set(Some(seed));
}

/// Replaces the system's source of random numbers in the whole test program: a symbol in the
/// program takes precedence over those of shared libraries. Threads without a seed get the
/// kernel's numbers.
///
/// # Safety
/// As for getrandom(2): `buffer` is valid for writes of `length` bytes.
#[expect(unsafe_code, reason = "there is no other place where every library's draws meet")]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    let Some(mut state) = SYSTEM.get() else {
        // SAFETY: the caller's contract is the same as the kernel's.
        let got = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
        return got as isize;
    };
    // SAFETY: the caller guarantees that the buffer has this length.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    for chunk in bytes.chunks_mut(8) {
        let word = splitmix(&mut state).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    SYSTEM.set(Some(state));
    length as isize
}

/// `SplitMix64` (Steele, Lea, Flood 2014); its quality is more than enough here.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Random draws for one part of the harness. Each part has its own, so that an additional draw in
/// one part does not change the others.
#[derive(Debug)]
pub struct Chance(Mutex<SmallRng>);

impl Chance {
    pub fn of(seed: u64, part: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (seed, part).hash(&mut hasher);
        Self(Mutex::new(SmallRng::seed_from_u64(hasher.finish())))
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut SmallRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// True with a probability of `times` in a thousand.
    pub fn permille(&self, times: u32) -> bool {
        self.draw(|rng| rng.random_range(0..1000) < times)
    }

    /// A number from `least` to `most`, both included.
    pub fn number(&self, least: u64, most: u64) -> u64 {
        self.draw(|rng| rng.random_range(least..=most))
    }

    /// A whole number of milliseconds, both bounds included.
    pub fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.number(least, most))
    }

    pub fn one_of<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.number(0, of.len() as u64 - 1) as usize]
    }

    pub fn word(&self) -> u64 {
        self.draw(Rng::next_u64)
    }
}
