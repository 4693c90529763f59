//! The custom resources of DeFS as Rust types: the only source of the CRDs, of their
//! reference and of the names that the operator shares with others. Nothing here talks to
//! a cluster.

pub mod cluster;
pub mod condition;
pub mod names;
pub mod node;
pub mod page;
pub mod pair;
pub mod reason;

mod interval;
mod manifest;
mod ratio;
mod reference;
mod rules;
mod schema;
mod size;
#[cfg(test)]
mod tests;

pub use cluster::{DefsCluster, DefsClusterSpec, DefsClusterStatus};
pub use interval::Interval;
pub use manifest::{Manifest, crds, manifests};
pub use node::{DefsNode, DefsNodeSpec, DefsNodeStatus};
pub use pair::{DefsPair, DefsPairSpec, DefsPairStatus};
pub use ratio::Ratio;
pub use reference::Reference;
pub use size::ByteSize;
