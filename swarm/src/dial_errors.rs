//! What a failed dial says.

use libp2p::TransportError;
use libp2p::swarm::DialError;

/// Every address that was tried, each with what came of it.
pub(crate) fn words(error: &DialError) -> String {
    match error {
        DialError::NoAddresses => "no address of it is known".to_owned(),
        DialError::Transport(tried) => {
            let each = tried.iter().map(|(address, error)| match error {
                // Says nothing itself of what it wraps.
                TransportError::Other(error) => format!("{address}: {error}"),
                other @ TransportError::MultiaddrNotSupported(_) => other.to_string(),
            });
            each.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}
