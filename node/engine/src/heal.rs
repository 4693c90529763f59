//! What a node does when others fail: watch its partner, witness for others, give a pair
//! its next epoch, take over what a partner holds, and rebuild what a lost pair held.

pub(crate) mod audit;
pub(crate) mod confirm;
pub(crate) mod doubles;
pub(crate) mod even_out;
pub(crate) mod hand_over;
pub(crate) mod history;
pub(crate) mod lost;
pub(crate) mod notes;
pub(crate) mod pace;
pub(crate) mod promise;
pub(crate) mod rate;
pub(crate) mod rebuild;
pub(crate) mod release;
pub(crate) mod scrub;
pub(crate) mod standin;
pub(crate) mod successor;
pub(crate) mod summary;
pub(crate) mod superseded;
pub(crate) mod sync;
pub(crate) mod turn;
pub(crate) mod watch;
pub(crate) mod wishes;
pub(crate) mod witness;
