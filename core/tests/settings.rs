//! What the settings of the owner's side change in how a file is laid out: from the text
//! that somebody wrote to the layout that is chosen.
#![cfg(test)]

use defs_core::mode::{Layout, LayoutError, Mode, choose};
use defs_core::settings::Settings;

const MIB: u64 = 1 << 20;

/// Pairs enough for every geometry below.
const PAIRS: usize = 20;

fn settings(set: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::default();
    for (name, value) in set {
        settings.set(name, value).unwrap();
    }
    settings
}

/// How a file of `length` bytes is laid out under these settings.
fn laid_out(length: u64, set: &[(&str, &str)]) -> Result<Layout, LayoutError> {
    choose(Some(length), &settings(set).wish(false), PAIRS)
}

fn mode_and_geometry(length: u64, set: &[(&str, &str)]) -> (Mode, String) {
    let layout = laid_out(length, set).unwrap();
    (layout.mode, layout.geometry.to_string())
}

#[test]
fn the_storage_mode_is_the_one_that_was_set() {
    for (name, mode, geometry) in [
        ("auto", Mode::RsSize, "10+4"),
        ("file", Mode::File, "1+1"),
        ("slice", Mode::Slice, "1+1"),
        ("rs-proportion", Mode::RsProportion, "20+8"),
        ("rs-size", Mode::RsSize, "10+4"),
    ] {
        let expected = (mode, geometry.to_owned());
        assert_eq!(mode_and_geometry(20 * MIB, &[("storageMode", name)]), expected, "{name}");
    }
}

#[test]
fn numbers_of_shards_that_were_set_are_those_of_the_layout() {
    let both = [("dataShards", "7"), ("parityShards", "3")];
    assert_eq!(mode_and_geometry(20 * MIB, &both), (Mode::RsSize, "7+3".to_owned()));
    let data = [("dataShards", "7")];
    assert_eq!(mode_and_geometry(20 * MIB, &data), (Mode::RsSize, "7+4".to_owned()));
    let parity = [("parityShards", "5")];
    assert_eq!(mode_and_geometry(20 * MIB, &parity), (Mode::RsSize, "10+5".to_owned()));
}

#[test]
fn the_parity_ratio_gives_the_parity_of_mode_rs_proportion() {
    for (ratio, geometry) in [("0.25", "20+5"), ("0.4", "20+8"), ("0.405", "20+9"), ("1", "20+20")]
    {
        let set = [("storageMode", "rs-proportion"), ("parityRatio", ratio)];
        assert_eq!(mode_and_geometry(20 * MIB, &set).1, geometry, "{ratio}");
    }
}

#[test]
fn no_shard_of_mode_rs_proportion_is_larger_than_was_set() {
    for length in [300 << 10, MIB, 9 * MIB, 64 * MIB, 1 << 40] {
        for shard_size in ["64Ki", "100Ki", "1Mi", "2Mi", "64Mi"] {
            let mut settings = Settings::default();
            settings.set("storageMode", "rs-proportion").unwrap();
            settings.set("shardSize", shard_size).unwrap();
            let wish = settings.wish(false);
            let layout = choose(Some(length), &wish, PAIRS).unwrap();
            let slice = wish.largest_slice(&layout).0.min(length);
            let shard = slice.div_ceil(layout.geometry.data() as u64);
            assert!(shard <= wish.shard_size.0, "{length} in {shard_size}: {shard}, {layout:?}");
        }
    }
}

#[test]
fn shards_of_mode_rs_proportion_are_many_and_not_tiny() {
    for (length, shard_size, geometry) in [
        (64 * MIB, "32Mi", "20+8"),
        (64 * MIB, "64Ki", "20+8"),
        (640 << 10, "128Ki", "10+4"),
        (640 << 10, "64Ki", "10+4"),
        (320 << 10, "64Ki", "5+2"),
    ] {
        let set = [("storageMode", "rs-proportion"), ("shardSize", shard_size)];
        assert_eq!(mode_and_geometry(length, &set).1, geometry, "{length} in {shard_size}");
    }
}

#[test]
fn the_largest_slice_bounds_mode_file() {
    let set = [("storageMode", "file"), ("maxSliceSize", "2Mi")];
    assert_eq!(laid_out(2 * MIB, &set).unwrap().mode, Mode::File);
    let refused = laid_out(2 * MIB + 1, &set).unwrap_err().to_string();
    assert_eq!(
        refused,
        "mode file holds at most 2Mi, this file has 2097153 bytes: use slice or rs-size"
    );
}

#[test]
fn durability_says_how_many_pairs_may_vanish() {
    for (durability, geometry, per_pair) in
        [("pair", "1+0", 1), ("1", "10+4", 4), ("3", "10+12", 4)]
    {
        let layout = laid_out(20 * MIB, &[("durability", durability)]).unwrap();
        let found = (layout.geometry.to_string(), layout.per_pair);
        assert_eq!(found, (geometry.to_owned(), per_pair), "{durability}");
    }
}
