//! Runs networks of storage nodes on Kubernetes: makes their pods and volumes, decides which
//! nodes are pairs, replaces those that are gone, and says how all that is.
//!
//! Three controllers, each a sentence: look up, build or judge, apply, tell. What they know of
//! the world is in [`stores`] (objects) and [`agents`] (what nodes say of themselves); what they
//! decide is in [`plan`] and in `build`, which see no client.

mod agents;
mod apply;
mod authority;
mod build;
mod cluster;
mod condition;
mod context;
mod error;
mod health;
mod installed;
mod metrics;
mod node;
mod pair;
mod plan;
pub mod run;
mod stores;
#[cfg(test)]
mod tests;
