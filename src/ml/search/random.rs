//! Random streams, one for each parameter of each trial.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use super::space::Space;

/// The random streams of one trial. Each parameter has its own, so a new parameter leaves the draws of the others alone.
pub(super) struct Streams {
    /// The sampler's own.
    pub(super) own: Stream,
    /// One for each parameter of the space.
    pub(super) parameters: Vec<Stream>,
}

/// Uniform draws.
pub(super) struct Stream(ChaCha8Rng);

impl Streams {
    pub(super) fn of(space: &Space, seed: u64, trial: u64) -> Self {
        let stream = |name: &str| Stream::of(seed, trial, name);
        let parameters = space.parameters.iter().map(|parameter| stream(&parameter.name)).collect();
        // No parameter has an empty name.
        Self { own: stream(""), parameters }
    }
}

impl Stream {
    pub(super) fn of(seed: u64, trial: u64, name: &str) -> Self {
        let mut key = blake3::Hasher::new();
        key.update(&seed.to_le_bytes()).update(&trial.to_le_bytes()).update(name.as_bytes());
        Self(ChaCha8Rng::from_seed(*key.finalize().as_bytes()))
    }

    /// A draw from [0, 1) in steps of 2^-53.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}
