//! What wins over what, and what a refusal says.

use std::error::Error;
use std::time::Duration;

use super::*;

const HOME: (&str, &str) = ("HOME", "/home/ada");

fn load(
    file: Option<&str>,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Settings, LoadError> {
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let file = file.map(written);
    let path = file.as_ref().map(|folder| folder.path().join("settings.yaml"));
    load_settings(path.as_deref(), owned(environment).into_iter(), owned(flags))
}

/// A folder with this settings file.
fn written(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("settings.yaml"), text).unwrap();
    folder
}

/// The whole chain of causes, with the folder of the test's file left out.
fn told(error: &LoadError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let from = text.find(" /").map_or(0, |at| at + 1);
    let to = text.find("settings.yaml").unwrap_or(from);
    format!("{}{}", &text[..from], &text[to.max(from)..])
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file() {
    let file = Some("dataShards: 1\nparityShards: 1\nport: 1\n");
    let environment = [HOME, ("DEFS_PARITY_SHARDS", "2"), ("DEFS_PORT", "2")];
    let settings = load(file, &environment, &[("port", "3")]).unwrap();
    assert_eq!((settings.data_shards, settings.parity_shards, settings.port), (1, 2, 3));
    assert!(settings.is_given("dataShards") && !settings.is_given("maxSliceSize"));
}

#[test]
fn a_file_may_use_every_kind_of_yaml_value() {
    let file = "\
# a laptop
parityRatio: 0.25
mdns: yes
bootstrap: true
maxSliceSize: 8Mi
minSliceSize: 1048576
dialTimeout: \"250ms\"
logDir:
bootstrapPeers:
  - /ip4/192.0.2.1/tcp/1/p2p/a
  - /ip4/192.0.2.2/tcp/2/p2p/b
announce: [/dns/c/tcp/3]
";
    let settings = load(Some(file), &[HOME], &[]).unwrap();
    assert_eq!(settings.parity_permille, 250);
    assert!(settings.mdns && settings.bootstrap);
    assert_eq!(settings.max_slice_size.to_string(), "8Mi");
    assert_eq!(settings.min_slice_size.to_string(), "1Mi");
    assert_eq!(settings.dial_timeout, Duration::from_millis(250));
    assert_eq!(settings.log_dir, None);
    assert_eq!(
        settings.bootstrap_peers,
        ["/ip4/192.0.2.1/tcp/1/p2p/a", "/ip4/192.0.2.2/tcp/2/p2p/b"]
    );
    assert_eq!(settings.announce, ["/dns/c/tcp/3"]);
}

#[test]
fn files_that_say_nothing_leave_the_defaults() {
    for file in [None, Some(""), Some("# nothing\n\n"), Some("{}")] {
        let settings = load(file, &[HOME], &[]).unwrap();
        assert_eq!((settings.data_shards, settings.port), (10, 4001), "{file:?}");
    }
}

#[test]
fn a_refusal_names_the_file_the_line_the_setting_the_value_and_the_bounds() {
    let error = load(Some("port: 1\n\ndataShards: 101\n"), &[HOME], &[]).unwrap_err();
    assert_eq!(
        told(&error),
        "line 3 of the settings file settings.yaml is refused: \
         dataShards is `101`, allowed is 1 to 100"
    );
    let error = load(Some("dataShard: 10\n"), &[HOME], &[]).unwrap_err();
    assert_eq!(
        told(&error),
        "line 1 of the settings file settings.yaml is refused: \
         there is no setting `dataShard`, did you mean dataShards?"
    );
}

#[test]
fn a_refusal_names_the_variable_or_the_flag() {
    let error = load(None, &[HOME, ("DEFS_PORT", "http")], &[]).unwrap_err();
    assert_eq!(
        told(&error),
        "the environment variable DEFS_PORT is refused: port is `http`, allowed is 0 to 65535"
    );
    let error = load(None, &[HOME], &[("logFormat", "xml")]).unwrap_err();
    assert_eq!(
        told(&error),
        "the flag --log-format is refused: logFormat is `xml`, allowed is text, json"
    );
}

#[test]
fn values_that_dont_go_together_are_refused_wherever_they_come_from() {
    let environment = [HOME, ("DEFS_MAX_SLICE_SIZE", "2Mi")];
    let error = load(Some("minSliceSize: 4Mi"), &environment, &[]).unwrap_err();
    assert_eq!(
        told(&error),
        "the settings are refused: minSliceSize 4Mi and maxSliceSize 2Mi don't go together: \
         the first must not be above the second"
    );
}

#[test]
fn a_file_that_isnt_flat_or_says_a_thing_twice_is_refused() {
    for file in [
        "dataShards",
        "- a\n- b",
        "port: {a: 1}",
        "port: 1\nport: 2",
        "port: [",
        "port: 1\n---\nport: 2",
    ] {
        let error = load(Some(file), &[HOME], &[]).unwrap_err();
        assert!(
            told(&error).starts_with("the settings file settings.yaml is not flat YAML"),
            "{file:?}: {}",
            told(&error)
        );
    }
}

#[test]
fn a_file_that_isnt_there_or_is_far_too_large_is_refused() {
    let missing = load_settings(Some(Path::new("/nowhere/x.yaml")), [].into_iter(), vec![]);
    assert_eq!(
        missing.unwrap_err().to_string(),
        "failed to read the settings file /nowhere/x.yaml"
    );
    let large = format!("port: 1\n{}", "# filling\n".repeat(200_000));
    let error = load(Some(&large), &[HOME], &[]).unwrap_err();
    assert_eq!(told(&error), "failed to read the settings file settings.yaml: larger than 1 MiB");
}

#[test]
fn paths_below_the_tilde_are_below_the_home_folder() {
    let settings = load(Some("logDir: ~/logs"), &[HOME], &[]).unwrap();
    assert_eq!(settings.data_dir, Path::new("/home/ada/.local/share/defs"));
    assert_eq!(settings.log_dir.as_deref(), Some(Path::new("/home/ada/logs")));
    let homeless = load(None, &[("DEFS_DATA_DIR", "/data")], &[]).unwrap();
    assert_eq!(homeless.data_dir, Path::new("/data"));
    assert_eq!(
        load(None, &[], &[]).unwrap_err().to_string(),
        "dataDir is ~/.local/share/defs, but HOME is not set"
    );
}

#[test]
fn a_host_without_a_name_gets_the_machines() {
    assert_eq!(load(None, &[HOME], &[("host", "rack-1")]).unwrap().labels.host, "rack-1");
    let own = load(None, &[HOME], &[]).unwrap().labels.host;
    assert!(!own.is_empty());
    // It may be set: it has only letters that a label may have.
    Settings::default().set("host", &own).unwrap();
}

#[test]
fn variables_of_others_are_left_alone() {
    let environment = [HOME, ("DEFS_PASSPHRASE", "x"), ("PORT", "y")];
    assert_eq!(load(None, &environment, &[]).unwrap().port, 4001);
}

/// A text that the setting refuses, if there is one.
fn refused_by(setting: &str) -> Option<&'static str> {
    let odd = ["-1", "1e99", "99999999999", "99999Ti", "no such thing", "a/b c", ""];
    odd.into_iter().find(|text| Settings::default().set(setting, text).is_err())
}

#[test]
fn every_setting_out_of_bounds_is_named_with_value_and_bounds_whatever_its_source() {
    let mut refused = 0;
    for setting in table() {
        let Some(value) = refused_by(setting.name) else {
            assert!(setting.is_path(), "{} refuses nothing", setting.name);
            continue;
        };
        refused += 1;
        let words = format!("{} is `{value}`, allowed is {}", setting.name, setting.bounds());
        let written = format!("# a comment\n{}: {value:?}\n", setting.name);
        let errors = [
            (load(Some(&written), &[HOME], &[]), "line 2 of the settings file".to_owned()),
            (load(None, &[HOME, (&setting.env(), value)], &[]), setting.env()),
            (load(None, &[HOME], &[(setting.name, value)]), format!("--{}", setting.flag)),
        ];
        for (loaded, source) in errors {
            let told = told(&loaded.unwrap_err());
            assert!(told.contains(&words) && told.contains(&source), "{told}");
        }
    }
    assert!(refused > 20, "only {refused} settings have bounds");
}

#[test]
fn every_setting_is_read_from_the_file_the_environment_and_a_flag() {
    for setting in table() {
        // Its own default, written down: read and, being written, given.
        let value = setting.default;
        let written = format!("{}: {value:?}\n", setting.name);
        let sources = [
            load(Some(&written), &[HOME], &[]),
            load(None, &[HOME, (&setting.env(), value)], &[]),
            load(None, &[HOME], &[(setting.name, value)]),
        ];
        for loaded in sources {
            assert!(loaded.unwrap().is_given(setting.name), "{}", setting.name);
        }
    }
}
