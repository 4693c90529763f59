//! Who may do what: P-256 keys, addresses, lock scripts, and the two kinds of authority
//! that open a lock — statements, valid at any holder for ever, and sessions, which die
//! with a connection.
//!
//! Pure: time comes in as a parameter, and nothing here draws a random number.

pub mod address;
pub mod authority;
pub mod checker;
mod derive;
pub mod keys;
pub mod node_signature;
pub mod script;
pub mod session;
pub mod time;

pub use address::Address;
pub use authority::{NotAuthorised, authorise, sign_digests, sign_statement, sign_statements};
pub use checker::{CachedChecker, Direct, SignatureChecker};
pub use keys::{BadSignature, NotAKey, PublicKey, SecretKey, Signature};
pub use node_signature::verify_node;
pub use script::{ScriptError, execute};
pub use session::{SessionRefused, SessionTerms, check_session};
pub use time::{CLOCK_SKEW, UnixTime};
