//! The owner's side: keys, the pipeline from a file to its shards and back, the catalogue
//! of names and the journal of tasks. Generic over core's ports; [`Client`] is the way in.

mod base32;
pub mod catalogue;
pub mod client;
#[cfg(feature = "swarm")]
pub mod connect;
pub mod database;
pub mod directory;
mod download;
mod journal;
pub mod keys;
mod memory;
pub mod nodes;
mod peers;
mod pipeline;
pub mod place;
pub mod ports;
pub mod progress;
pub mod records;
mod rewrite;
mod small;
pub mod ticket;
mod upload;

pub use defs_identity::{Address, SecretKey};

pub use catalogue::{CatalogueError, Entry};
pub use client::{
    Client, ClientConfig, ConnectError, ExplainError, FileRef, FileStatus, Finished, GetError,
    GetOptions, Got, OpenError, Put, PutError, PutOptions, RemoveError, Removed, ShardStatus,
    SliceStatus, StatusError, TaskError, TaskInfo,
};
pub use download::{DownloadError, ShortSlice};
pub use journal::{JournalError, TaskId, TaskKind};
pub use pipeline::carry::CarryError;
pub use pipeline::encrypt::DecryptError;
pub use pipeline::fetch::{FetchError, ShardError};
pub use pipeline::harm::{DamagedShard, Harm};
pub use pipeline::index::ManifestError;
pub use pipeline::sink::{Sink, SinkError};
pub use pipeline::source::{Source, SourceError};
pub use ports::Ports;
pub use progress::{Phase, Progress, Watcher};
pub use records::{FoundBy, Lookup};
pub use small::SmallError;
pub use ticket::{NotATicket, Ticket};
pub use upload::UploadError;
