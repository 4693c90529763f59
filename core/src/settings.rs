//! What people can set, once for everybody: files, environment, flags, the docs and later
//! the custom resources are all made from [`table()`].

mod choice;
mod error;
mod kind;
mod page;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::mode::{Durability, Mode, Wish};
use crate::network::Labels;
use crate::size::Size;

pub use choice::{LogFormat, LogLevel, Pairing};
pub use error::SettingError;
pub use kind::time;
pub use page::markdown;
pub use table::{Setting, Side, table};

/// Every setting. A value got through [`Settings::set`] is within its own bounds; that
/// the values go together is what [`Settings::check`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented by its row of the table")]
pub struct Settings {
    pub storage_mode: Mode,
    pub data_shards: u32,
    pub parity_shards: u32,
    /// `parityRatio` in thousandths.
    pub parity_permille: u32,
    pub min_slice_size: Size,
    pub max_slice_size: Size,
    pub shard_size: Size,
    pub durability: Durability,
    pub memory_budget: Size,
    pub port: u16,
    pub listen_address: IpAddr,
    pub status_port: u16,
    /// Whether to act as a bootstrap node.
    pub bootstrap: bool,
    pub bootstrap_peers: Vec<String>,
    pub announce: Vec<String>,
    pub mdns: bool,
    pub max_connections: u32,
    pub dial_timeout: Duration,
    /// `None`: a third of `suspectAfter`.
    pub heartbeat: Option<Duration>,
    pub suspect_after: Duration,
    pub fail_after: Duration,
    pub replace_after: Duration,
    /// A second.
    pub repair_rate: Size,
    pub balance_every: Duration,
    pub pairing: Pairing,
    /// 0: the admin API is reached by its socket only.
    pub admin_port: u16,
    pub tls_dir: Option<PathBuf>,
    pub data_dir: PathBuf,
    /// `None`: nine tenths of what is free at the first start.
    pub capacity: Option<Size>,
    /// `zone`, `region` and `host`. An empty host becomes the machine's name in launch.
    pub labels: Labels,
    pub network_file: Option<PathBuf>,
    pub invite_file: Option<PathBuf>,
    /// `None`: the standard error stream.
    pub log_dir: Option<PathBuf>,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
    /// `None`: as many as the machine has cores.
    pub workers: Option<u32>,
    pub buffer_size: Size,
    given: BTreeSet<&'static str>,
}

impl Settings {
    /// Sets `name` (as in the table) to what `text` says.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), SettingError> {
        let setting = table::find(name).ok_or_else(|| SettingError::unknown(name))?;
        setting
            .assign(self, text.trim())
            .ok_or_else(|| SettingError::out_of_bounds(setting, text))?;
        self.given.insert(setting.name);
        Ok(())
    }

    /// Whether somebody set `name`, to the default or anything else.
    #[must_use]
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains(name)
    }

    /// Whether the values go together. That 100 + 100 shards are allowed needs no rule
    /// here: the bounds of both numbers already keep a stripe at 200.
    pub fn check(&self) -> Result<(), SettingError> {
        if self.min_slice_size > self.max_slice_size {
            return Err(SettingError::Conflict {
                first: format!("minSliceSize {}", self.min_slice_size),
                second: format!("maxSliceSize {}", self.max_slice_size),
                rule: "the first must not be above the second",
            });
        }
        self.check_ports()?;
        if self.admin_port != 0 && self.tls_dir.is_none() {
            return Err(SettingError::Conflict {
                first: format!("adminPort {}", self.admin_port),
                second: "no tlsDir".to_owned(),
                rule: "only who shows a certificate may use it",
            });
        }
        Ok(())
    }

    fn check_ports(&self) -> Result<(), SettingError> {
        let ports =
            [("port", self.port), ("statusPort", self.status_port), ("adminPort", self.admin_port)];
        let pairs = [(0, 1), (0, 2), (1, 2)].map(|(one, other)| (ports[one], ports[other]));
        match pairs.into_iter().find(|((_, one), (_, other))| *one != 0 && one == other) {
            None => Ok(()),
            Some(((one, port), (other, _))) => Err(SettingError::Conflict {
                first: format!("{one} {port}"),
                second: format!("{other} {port}"),
                rule: "they must differ",
            }),
        }
    }

    /// What an owner with these settings asks of a file's layout. The numbers of shards
    /// count only if somebody gave them: the mode `auto` chooses its own.
    #[must_use]
    pub fn wish(&self, unsafe_placement: bool) -> Wish {
        Wish {
            mode: self.storage_mode,
            data: self.is_given("dataShards").then_some(self.data_shards),
            parity: self.is_given("parityShards").then_some(self.parity_shards),
            parity_permille: self.parity_permille,
            durability: self.durability,
            shard_size: self.shard_size,
            slice_min: self.min_slice_size,
            slice_max: self.max_slice_size,
            unsafe_placement,
        }
    }

    /// A place for the table's defaults to be written to.
    fn blank() -> Self {
        Self {
            storage_mode: Mode::Auto,
            data_shards: 0,
            parity_shards: 0,
            parity_permille: 0,
            min_slice_size: Size(0),
            max_slice_size: Size(0),
            shard_size: Size(0),
            durability: Durability::ONE_PAIR,
            memory_budget: Size(0),
            port: 0,
            listen_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            status_port: 0,
            bootstrap: false,
            bootstrap_peers: Vec::new(),
            announce: Vec::new(),
            mdns: false,
            max_connections: 0,
            dial_timeout: Duration::ZERO,
            heartbeat: None,
            suspect_after: Duration::ZERO,
            fail_after: Duration::ZERO,
            replace_after: Duration::ZERO,
            repair_rate: Size(0),
            balance_every: Duration::ZERO,
            pairing: Pairing::Own,
            admin_port: 0,
            tls_dir: None,
            data_dir: PathBuf::new(),
            capacity: None,
            labels: Labels::default(),
            network_file: None,
            invite_file: None,
            log_dir: None,
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
            workers: None,
            buffer_size: Size(0),
            given: BTreeSet::new(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let mut settings = Self::blank();
        for setting in table() {
            #[expect(clippy::expect_used, reason = "a test sets every default")]
            setting.assign(&mut settings, setting.default).expect("a default is within its bounds");
        }
        settings
    }
}
