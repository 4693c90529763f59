//! Who should be paired with whom, and who is gone: pure decisions, the same for the
//! operator and for nodes that organise themselves. No clock, no async, no I/O.

pub mod balance;
pub mod detector;
pub mod majority;
pub mod placement;
pub mod planner;
pub mod replacement;
pub mod score;
pub mod survey;
pub mod witness;
