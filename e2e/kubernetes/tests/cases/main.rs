//! What DeFS promises on Kubernetes, each claim a case: on a cluster that runs, as root, one
//! after the other. `e2e/run` does all that; CONTRIBUTING says how to run one.
#![cfg(test)]
#![expect(clippy::large_futures, reason = "one case at a time is on the stack")]

mod install;
mod laptop;
mod machines;
mod mistakes;
mod neighbours;
mod operator;
mod pairing;
mod pods;
mod refused;
mod traces;
mod volumes;
