//! Shard files, segments and RocksDB: what a node keeps on its disk
