//! Settings from where people write them. The file comes first, the environment overrides
//! it, and flags override both; what is said nowhere has its default.

mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use defs_core::settings::{SettingError, Settings, table};
use thiserror::Error;

/// Why the settings can't be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("failed to read the settings file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The file isn't a flat map of names to values.
    #[error("the settings file {} is not flat YAML (`name: value`)", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What was found, with its line.
        source: Box<serde_saphyr::Error>,
    },
    /// The file sets something that isn't allowed.
    #[error("line {line} of the settings file {} is refused", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// Which setting, and why.
        source: SettingError,
    },
    /// The environment sets something that isn't allowed.
    #[error("the environment variable {variable} is refused")]
    Environment {
        /// The variable.
        variable: String,
        /// Which setting, and why.
        source: SettingError,
    },
    /// A flag sets something that isn't allowed.
    #[error("the flag --{flag} is refused")]
    Flag {
        /// The flag without its dashes.
        flag: String,
        /// Which setting, and why.
        source: SettingError,
    },
    /// Every value is allowed, but not with the others.
    #[error("the settings are refused")]
    Together(#[from] SettingError),
    /// A path begins with `~/`, and nobody says where that is.
    #[error("{setting} is {}, but HOME is not set", path.display())]
    NoHome {
        /// The setting.
        setting: &'static str,
        /// Its value.
        path: PathBuf,
    },
}

/// This process's environment, without what isn't Unicode.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The settings of `file`, overridden by the `DEFS_…` variables of `environment`,
/// overridden by `flags` (setting's name, value). Variables that name no setting are left
/// to others. In the result paths are expanded and the host has a name.
pub fn load_settings(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: Vec<(String, String)>,
) -> Result<Settings, LoadError> {
    let environment: BTreeMap<String, String> = environment.collect();
    let mut settings = Settings::default();
    if let Some(path) = file {
        file::apply(path, &mut settings)?;
    }
    apply_environment(&environment, &mut settings)?;
    apply_flags(flags, &mut settings)?;
    settings.check()?;
    expand_paths(environment.get("HOME").map(Path::new), &mut settings)?;
    if settings.labels.host.is_empty() {
        settings.labels.host = host_name();
    }
    Ok(settings)
}

fn apply_environment(
    environment: &BTreeMap<String, String>,
    settings: &mut Settings,
) -> Result<(), LoadError> {
    for setting in table() {
        let variable = setting.env();
        if let Some(value) = environment.get(&variable) {
            settings
                .set(setting.name, value)
                .map_err(|source| LoadError::Environment { variable, source })?;
        }
    }
    Ok(())
}

fn apply_flags(flags: Vec<(String, String)>, settings: &mut Settings) -> Result<(), LoadError> {
    for (name, value) in flags {
        settings.set(&name, &value).map_err(|source| {
            let known = table().iter().find(|setting| setting.name == name);
            LoadError::Flag { flag: known.map_or(name, |known| known.flag.to_owned()), source }
        })?;
    }
    Ok(())
}

/// Replaces `~/` by the home folder. A shell does it in flags, nobody in files.
fn expand_paths(home: Option<&Path>, settings: &mut Settings) -> Result<(), LoadError> {
    let paths = [
        ("dataDir", Some(&mut settings.data_dir)),
        ("logDir", settings.log_dir.as_mut()),
        ("networkFile", settings.network_file.as_mut()),
        ("inviteFile", settings.invite_file.as_mut()),
    ];
    for (setting, path) in paths {
        let Some(path) = path else { continue };
        if let Ok(below) = path.strip_prefix("~") {
            let home = home.ok_or_else(|| LoadError::NoHome { setting, path: path.clone() })?;
            *path = home.join(below);
        }
    }
    Ok(())
}

/// The machine's name, of letters that a label may have.
pub(crate) fn host_name() -> String {
    let uname = rustix::system::uname();
    let label = |letter: char| {
        if letter.is_ascii_alphanumeric() || ".-_".contains(letter) { letter } else { '-' }
    };
    uname.nodename().to_string_lossy().chars().map(label).collect()
}
