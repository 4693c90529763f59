//! The index: RocksDB, for what is small. Every write is synced before it counts;
//! RocksDB lets concurrent writers share one sync.
//!
//! | family | key | value |
//! |---|---|---|
//! | `shards` | stripe ‖ index | where the bytes lie, state |
//! | `heads` | stripe ‖ index | the shard's head |
//! | `records` | kind ‖ file ‖ page | the record's heads |
//! | `sizes` | kind ‖ file ‖ page | sealed bytes of those heads, u64 |
//! | `locators` | locator ‖ `s` ‖ stripe ‖ index, or locator ‖ `f` ‖ record key | – |
//! | `trash` | stripe ‖ index | –; a file that may have outlived its entry |
//! | `state` | the node's own key | the node's own value |
//!
//! `shards` and `sizes` are apart from what they describe so that a start, which reads
//! both whole, reads little.

use std::path::Path;

use defs_core::format::{Format, FormatError};
use defs_core::ids::{ShardIndex, StripeId};
use defs_core::message::ShardKey;
use defs_core::port::DiskError;
use defs_core::record::RecordKey;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBPinnableSlice,
    DBRawIterator, LogLevel, Options, WriteBatch, WriteOptions,
};

/// What a node may spend on data that RocksDB has not yet written out. Half of the
/// memory that an idle node may use goes to this and the cache below.
const WRITE_BUFFERS: usize = 8 << 20;

/// What a node may spend on blocks read from the index, filters included.
const CACHE: usize = 16 << 20;

/// Open table files; a table is 64 MiB, so this covers an index of 4 GiB without
/// opening anything twice.
const OPEN_FILES: i32 = 64;

/// Once this much log is unflushed, the family that holds it back is flushed: bounds the
/// time of a start.
const LOG_MAX: u64 = 32 << 20;

/// A part of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Shards,
    Heads,
    Records,
    Sizes,
    Locators,
    Trash,
    State,
}

impl Family {
    const ALL: [Self; 7] = [
        Self::Shards,
        Self::Heads,
        Self::Records,
        Self::Sizes,
        Self::Locators,
        Self::Trash,
        Self::State,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Shards => "shards",
            Self::Heads => "heads",
            Self::Records => "records",
            Self::Sizes => "sizes",
            Self::Locators => "locators",
            Self::Trash => "trash",
            Self::State => "state",
        }
    }
}

pub(crate) struct Index {
    db: DB,
    synced: WriteOptions,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Index {
    /// Opens the index in `folder`, which is made only if `create`.
    pub(crate) fn open(folder: &Path, create: bool) -> Result<Self, rocksdb::Error> {
        let cache = Cache::new_lru_cache(CACHE);
        let families = Family::ALL.map(|family| {
            ColumnFamilyDescriptor::new(family.name(), family_options(&cache, family))
        });
        let db = DB::open_cf_descriptors(&options(create), folder, families)?;
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Self { db, synced })
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        #[expect(clippy::expect_used, reason = "a family that is missing fails the opening")]
        self.db.cf_handle(family.name()).expect("every family is opened with the database")
    }

    pub(crate) fn get(
        &self,
        family: Family,
        key: &[u8],
    ) -> Result<Option<DBPinnableSlice<'_>>, DiskError> {
        self.db.get_pinned_cf(self.family(family), key).map_err(|error| failed(family, error))
    }

    /// The value at `key`, decoded.
    pub(crate) fn value<T: Format>(
        &self,
        family: Family,
        key: &[u8],
    ) -> Result<Option<T>, DiskError> {
        let Some(bytes) = self.get(family, key)? else { return Ok(None) };
        T::decode(&bytes).map(Some).map_err(|error| damaged(family, &error))
    }

    /// Whether `key` is there.
    pub(crate) fn has(&self, family: Family, key: &[u8]) -> Result<bool, DiskError> {
        Ok(self.get(family, key)?.is_some())
    }

    /// Calls `visit` with what is at and after `from`, in key order, until it says no.
    pub(crate) fn visit(
        &self,
        family: Family,
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, DiskError>,
    ) -> Result<(), DiskError> {
        let mut entries: DBRawIterator<'_> = self.db.raw_iterator_cf(self.family(family));
        entries.seek(from);
        while let Some((key, value)) = entries.item() {
            if !visit(key, value)? {
                return Ok(());
            }
            entries.next();
        }
        entries.status().map_err(|error| failed(family, error))
    }

    /// The keys that begin with `prefix`, at most `limit`.
    pub(crate) fn keys(
        &self,
        family: Family,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, DiskError> {
        let mut keys = Vec::new();
        self.visit(family, prefix, |key, _| {
            let more = keys.len() < limit && key.starts_with(prefix);
            if more {
                keys.push(key.to_vec());
            }
            Ok(more)
        })?;
        Ok(keys)
    }

    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch { index: self, batch: WriteBatch::default() }
    }
}

/// Changes that become durable together.
pub(crate) struct Batch<'a> {
    index: &'a Index,
    batch: WriteBatch,
}

impl Batch<'_> {
    pub(crate) fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        self.batch.put_cf(self.index.family(family), key, value);
    }

    pub(crate) fn delete(&mut self, family: Family, key: &[u8]) {
        self.batch.delete_cf(self.index.family(family), key);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.batch.size_in_bytes() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Makes the changes durable.
    pub(crate) fn write(self) -> Result<(), rocksdb::Error> {
        self.index.db.write_opt(self.batch, &self.index.synced)
    }

    /// Makes the changes, durable with the next synced ones.
    pub(crate) fn write_unsynced(self) -> Result<(), rocksdb::Error> {
        self.index.db.write(self.batch)
    }
}

fn options(create: bool) -> Options {
    let mut options = Options::default();
    options.create_if_missing(create);
    options.create_missing_column_families(create);
    options.set_db_write_buffer_size(WRITE_BUFFERS);
    options.set_max_total_wal_size(LOG_MAX);
    options.set_max_background_jobs(2);
    options.set_max_open_files(OPEN_FILES);
    options.set_max_file_opening_threads(1);
    options.set_skip_stats_update_on_db_open(true);
    options.set_keep_log_file_num(2);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(1 << 20);
    options.set_bytes_per_sync(1 << 20);
    options
}

fn family_options(cache: &Cache, family: Family) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    if matches!(family, Family::Shards | Family::Heads | Family::Records | Family::Sizes) {
        blocks.set_bloom_filter(10.0, false);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(WRITE_BUFFERS / 2);
    options.set_max_write_buffer_number(2);
    // Sealed and hashed bytes don't compress.
    options.set_compression_type(rocksdb::DBCompressionType::None);
    options
}

/// Whether the device is full rather than broken.
pub(crate) fn is_full(error: &rocksdb::Error) -> bool {
    error.as_ref().contains("No space left on device")
}

pub(crate) fn failed(family: Family, source: rocksdb::Error) -> DiskError {
    DiskError::Io { what: format!("read `{}` of the index", family.name()), source: source.into() }
}

pub(crate) fn damaged(family: Family, error: &FormatError) -> DiskError {
    DiskError::Damaged { what: format!("an entry of `{}` in the index ({error})", family.name()) }
}

pub(crate) const SHARD_KEY: usize = StripeId::SIZE + 1;

pub(crate) fn shard_key(key: &ShardKey) -> [u8; SHARD_KEY] {
    let mut bytes = [0; SHARD_KEY];
    bytes[..StripeId::SIZE].copy_from_slice(&key.stripe.0);
    bytes[StripeId::SIZE] = key.index.0;
    bytes
}

pub(crate) fn parse_shard_key(bytes: &[u8]) -> Option<ShardKey> {
    let (stripe, rest) = bytes.split_first_chunk()?;
    let [index] = rest else { return None };
    Some(ShardKey { stripe: StripeId(*stripe), index: ShardIndex(*index) })
}

/// A record's key without the version byte: the family's version is the folder's.
pub(crate) fn record_key(key: &RecordKey) -> Vec<u8> {
    key.encode().split_off(1)
}

pub(crate) fn parse_record_key(bytes: &[u8]) -> Option<RecordKey> {
    let versioned = [&[RecordKey::VERSION], bytes].concat();
    RecordKey::decode(&versioned).ok()
}
