//! What a storage node does with what it is sent, as logic over core's ports: receive,
//! mirror, serve, keep and forget shards and records, find partners and answer look-ups.
//!
//! Nothing here holds a key of an owner or names one: the crate has no dependency
//! through which it could.

mod announce;
mod arrange;
mod arrivals;
mod beat;
mod catch_up;
mod config;
mod connection;
mod contact;
mod elapsed;
mod engine;
mod expire;
mod form;
mod gate;
mod gauge;
mod heal;
mod keep;
mod locate;
mod membership;
mod pass_on;
mod read;
mod receive;
mod records;
mod refuse;
mod session;
mod stamp;
mod status;
mod step_back;

pub use arrange::{Arrangement, Explained};
pub use config::{EngineConfig, Timings, World};
pub use contact::Contact;
pub use engine::{Engine, OpenError};
pub use gate::{MIRROR_STORES_MAX, STORES_MAX};
pub use heal::lost::Loss;
pub use heal::rebuild::{Progress, Unrepaired};
pub use membership::{CardError, PairError, check_card, check_pair};
pub use status::EngineStatus;
