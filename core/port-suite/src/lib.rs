//! In-memory ports, and the suites that they share with the real ones
