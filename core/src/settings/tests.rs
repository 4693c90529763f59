//! That the table is one: bounds, defaults, names and fields belong together.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Every setting with values just outside its bounds or of another kind, and one that is
/// allowed and isn't the default.
const EDGES: &[(&str, &[&str], &str)] = &[
    ("storageMode", &["raid", ""], "rs-size"),
    ("dataShards", &["0", "101", "ten", "-1", "1.5", ""], "100"),
    ("parityShards", &["101", "-1"], "0"),
    ("parityRatio", &["1.001", "2", "-0.1", "0.0001", "0.4x", "."], "0.405"),
    ("minSliceSize", &["1023Ki", "65Mi", "x"], "2Mi"),
    ("maxSliceSize", &["1023Ki", "65Mi"], "1Mi"),
    ("shardSize", &["63Ki", "65Mi"], "64Ki"),
    ("durability", &["0", "101", "disk"], "pair"),
    ("memoryBudget", &["63Mi", "65Gi"], "64Gi"),
    ("port", &["65536", "-1", "http"], "65535"),
    ("listenAddress", &["localhost", "1.2.3"], "127.0.0.1"),
    ("statusPort", &["65536"], "9100"),
    ("announce", &["localhost:4001", "/ip4/1.2.3.4/tcp/1,x"], "/ip4/192.0.2.1/tcp/4001"),
    ("bootstrap", &["maybe", "2", ""], "yes"),
    ("capacity", &["0", "1023Ki", "1025Ti"], "10Gi"),
    ("zone", &["a zone", "a/b"], "rack-1"),
    ("region", &["ü"], "eu-west.1"),
    ("host", &["a b"], "node_7"),
    ("inviteFile", &[], "/etc/defs/invite"),
    ("networkFile", &[], "/etc/defs/network"),
    ("bootstrapPeers", &["peer"], "/ip4/192.0.2.1/tcp/1/p2p/a, /dns/b/tcp/2/p2p/b"),
    ("mdns", &["si"], "on"),
    ("maxConnections", &["7", "10001"], "8"),
    ("dialTimeout", &["99ms", "61s", "2m", "5", "s"], "60s"),
    ("heartbeat", &["99ms", "61s", "2"], "1s"),
    ("suspectAfter", &["299ms", "6m"], "300ms"),
    ("failAfter", &["399ms", "2h"], "1h"),
    ("replaceAfter", &["499ms", "721h"], "720h"),
    ("repairRate", &["1023Ki", "17Gi"], "16Gi"),
    ("balanceEvery", &["999ms", "721h"], "1s"),
    ("pairing", &["none", ""], "assigned"),
    ("adminPort", &["65536"], "4002"),
    ("tlsDir", &[], "/etc/defs/tls"),
    ("dataDir", &[""], "/var/lib/defs"),
    ("logDir", &[], "/var/log/defs"),
    ("logLevel", &["loud"], "trace"),
    ("logFormat", &["xml"], "json"),
    ("workers", &["0", "257"], "256"),
    ("bufferSize", &["63Ki", "5Mi"], "64Ki"),
];

#[test]
fn every_setting_refuses_what_is_out_of_bounds_and_names_it() {
    for (name, refused, _) in EDGES {
        let bounds = table::find(name).unwrap().bounds();
        for value in *refused {
            let mut settings = Settings::default();
            let error = settings.set(name, value).unwrap_err();
            assert_eq!(error.to_string(), format!("{name} is `{value}`, allowed is {bounds}"));
            assert_eq!(settings, Settings::default());
        }
    }
}

#[test]
fn setting_a_field_changes_that_field_only() {
    let mut changed = Settings::default();
    for (name, _, allowed) in EDGES {
        let before = changed.clone();
        changed.set(name, allowed).unwrap();
        assert_ne!(changed, Settings { given: changed.given.clone(), ..before }, "{name}");
    }
    // Had two rows one field, writing each default back would leave a difference.
    for setting in table() {
        changed.set(setting.name, setting.default).unwrap();
    }
    assert_eq!(changed, Settings { given: changed.given.clone(), ..Settings::default() });
}

#[test]
fn the_edges_above_cover_the_table() {
    let tested: BTreeSet<_> = EDGES.iter().map(|(name, _, _)| *name).collect();
    let declared: BTreeSet<_> = table().iter().map(|setting| setting.name).collect();
    assert_eq!(tested, declared);
}

#[test]
fn names_flags_and_variables_are_one_name_in_three_spellings() {
    let mut seen = BTreeSet::new();
    for setting in table() {
        let dashed: String = setting.name.chars().map(dashed).collect();
        assert_eq!(setting.flag, dashed);
        assert!(seen.insert(setting.env()), "{} is declared twice", setting.name);
        assert!(setting.effect.ends_with('.'), "{}: a sentence ends with a stop", setting.name);
    }
    assert_eq!(table::find("storageMode").unwrap().env(), "DEFS_STORAGE_MODE");
}

fn dashed(letter: char) -> String {
    if letter.is_uppercase() { format!("-{}", letter.to_lowercase()) } else { letter.to_string() }
}

#[test]
fn defaults_are_those_that_the_documentation_promises() {
    let settings = Settings::default();
    assert_eq!((settings.data_shards, settings.parity_shards), (10, 4));
    assert_eq!(settings.parity_permille, 400);
    assert_eq!((settings.min_slice_size, settings.max_slice_size), (Size::mib(1), Size::mib(64)));
    assert_eq!(settings.dial_timeout, Duration::from_secs(5));
    assert_eq!((settings.port, settings.status_port, settings.capacity), (4001, 0, None));
    assert_eq!(settings.check(), Ok(()));
    assert!(!settings.is_given("dataShards"));
}

#[test]
fn every_spelling_of_yes_and_no_is_understood() {
    let mut settings = Settings::default();
    for (text, expected) in
        [("true", true), ("NO", false), ("on", true), ("off", false), ("1", true), ("0", false)]
    {
        settings.set("mdns", text).unwrap();
        assert_eq!(settings.mdns, expected, "{text}");
    }
}

#[test]
fn times_take_four_units() {
    let mut settings = Settings::default();
    for (text, milliseconds) in [("250ms", 250), ("5s", 5000), ("1m", 60_000), ("10 s", 10_000)] {
        settings.set("dialTimeout", text).unwrap();
        assert_eq!(settings.dial_timeout, Duration::from_millis(milliseconds));
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let mut settings = Settings::default();
    for (wrong, nearest) in [
        ("datashards", "dataShards"),
        ("data-shards", "dataShards"),
        ("DATA_SHARD", "dataShards"),
        ("bootstrapPeer", "bootstrapPeers"),
        ("maxSlice", "maxSliceSize"),
    ] {
        assert_eq!(
            settings.set(wrong, "1").unwrap_err().to_string(),
            format!("there is no setting `{wrong}`, did you mean {nearest}?")
        );
    }
    assert_eq!(
        settings.set("colourOfTheSky", "blue").unwrap_err().to_string(),
        "there is no setting `colourOfTheSky`"
    );
}

#[test]
fn values_that_dont_go_together_are_refused_with_both() {
    let mut settings = Settings::default();
    settings.set("minSliceSize", "8Mi").unwrap();
    settings.set("maxSliceSize", "4Mi").unwrap();
    assert_eq!(
        settings.check().unwrap_err().to_string(),
        "minSliceSize 8Mi and maxSliceSize 4Mi don't go together: the first must not be above \
         the second"
    );
    settings.set("maxSliceSize", "8Mi").unwrap();
    assert_eq!(settings.check(), Ok(()));
    settings.set("statusPort", "4001").unwrap();
    assert_eq!(
        settings.check().unwrap_err().to_string(),
        "port 4001 and statusPort 4001 don't go together: they must differ"
    );
    settings.set("port", "0").unwrap();
    settings.set("statusPort", "0").unwrap();
    assert_eq!(settings.check(), Ok(()));
    settings.set("statusPort", "4002").unwrap();
    settings.set("adminPort", "4002").unwrap();
    assert_eq!(
        settings.check().unwrap_err().to_string(),
        "statusPort 4002 and adminPort 4002 don't go together: they must differ"
    );
    settings.set("adminPort", "4003").unwrap();
    assert_eq!(
        settings.check().unwrap_err().to_string(),
        "adminPort 4003 and no tlsDir don't go together: only who shows a certificate may use it"
    );
    settings.set("tlsDir", "/etc/defs/tls").unwrap();
    assert_eq!(settings.check(), Ok(()));
}

#[test]
fn shards_count_in_a_wish_only_when_somebody_gave_them() {
    let mut settings = Settings::default();
    assert_eq!((settings.wish(false).data, settings.wish(false).parity), (None, None));
    settings.set("dataShards", "10").unwrap();
    assert_eq!((settings.wish(false).data, settings.wish(false).parity), (Some(10), None));
    assert!(settings.wish(true).unsafe_placement);
}

#[test]
fn more_addresses_than_a_card_carries_are_refused() {
    let mut settings = Settings::default();
    let addresses = |count: usize| vec!["/dns/a/tcp/1"; count].join(",");
    settings.set("announce", &addresses(16)).unwrap();
    assert_eq!(settings.announce.len(), 16);
    assert!(settings.set("announce", &addresses(17)).is_err());
    settings.set("announce", "").unwrap();
    assert_eq!(settings.announce, Vec::<String>::new());
}

proptest! {
    #[test]
    fn a_ratio_is_read_to_the_thousandth(value in 0_u32..=1000) {
        let mut settings = Settings::default();
        settings.set("parityRatio", &format!("{}.{:03}", value / 1000, value % 1000)).unwrap();
        prop_assert_eq!(settings.parity_permille, value);
    }

    #[test]
    fn no_text_makes_a_setting_panic(index in 0..EDGES.len(), text in ".{0,40}") {
        let mut settings = Settings::default();
        let before = settings.clone();
        if settings.set(EDGES[index].0, &text).is_err() {
            prop_assert_eq!(settings, before);
        }
    }
}
