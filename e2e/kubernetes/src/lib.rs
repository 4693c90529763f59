//! The operator on a real Kubernetes: real pods, real volumes, and machines that lose power,
//! their network or their kubelet. A case says a claim, arranges it in a namespace of its own
//! and breaks something, while owners write and read all the time.
//!
//! ```text
//! with_namespace ─► Network (a DefsCluster) ─► Workload ─► Machines, Operator, pods … ─► History
//!        └ at the end: what was broken is mended; after a failure: objects, events, logs
//! ```
//!
//! `e2e/run` starts a cluster and runs the cases (see CONTRIBUTING); what is in `tests` needs
//! root and that cluster, what is tested here needs neither.

mod args;
mod choice;
mod installation;
mod json;
mod laptop;
mod machines;
mod namespace;
mod network;
mod operator;
mod provider;
mod results;
mod wait;
mod workload;
mod world;

pub use args::Args;
pub use choice::Victim;
pub use installation::Installation;
pub use json::merged;
pub use laptop::Laptop;
pub use machines::{Fault, Machines, OUT_OF_SERVICE};
pub use namespace::{Namespace, with_namespace};
pub use network::{Network, Pairing, is_true, pod_ready};
pub use operator::Operator;
pub use results::figure;
pub use wait::{eventually, seconds, throughout};
pub use workload::{History, Load, Owner, Workload};
pub use world::World;
