//! The four ports that the client needs, under one name.

use defs_core::port::{Clock, Compute, Peers, Randomness};

/// What the client needs of the world.
#[derive(Debug)]
pub struct Ports<P, C, R, K> {
    /// Other peers.
    pub peers: P,
    /// Time.
    pub clock: C,
    /// Randomness fit for keys.
    pub random: R,
    /// Where long work runs.
    pub compute: K,
}

/// [`Ports`] as one parameter, so that the parts of the client need not list four.
pub(crate) trait World: Send + Sync + 'static {
    type Peers: Peers;
    type Clock: Clock;
    type Random: Randomness;
    type Compute: Compute;

    fn peers(&self) -> &Self::Peers;
    fn clock(&self) -> &Self::Clock;
    fn random(&self) -> &Self::Random;
    fn compute(&self) -> &Self::Compute;
}

impl<P: Peers, C: Clock, R: Randomness, K: Compute> World for Ports<P, C, R, K> {
    type Peers = P;
    type Clock = C;
    type Random = R;
    type Compute = K;

    fn peers(&self) -> &P {
        &self.peers
    }
    fn clock(&self) -> &C {
        &self.clock
    }
    fn random(&self) -> &R {
        &self.random
    }
    fn compute(&self) -> &K {
        &self.compute
    }
}
