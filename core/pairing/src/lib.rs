//! Scores, the pair planner and the failure detector; no clock, no async
