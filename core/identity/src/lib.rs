//! P-256 keys, addresses, lock scripts and sessions
