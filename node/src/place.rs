//! Where a node's machine stands, as whoever admitted the node said: kept, since it isn't said
//! again.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use defs_core::network::Labels;
use defs_core::settings::{SettingError, Settings};

use crate::secret_file;

/// A zone and a region; empty where nobody said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    zone: String,
    region: String,
}

impl Place {
    /// Labels as the settings of the same names may be.
    pub(crate) fn of(zone: &str, region: &str) -> Result<Self, SettingError> {
        let mut settings = Settings::default();
        settings.set("zone", zone)?;
        settings.set("region", region)?;
        let Labels { zone, region, .. } = settings.labels;
        Ok(Self { zone, region })
    }

    /// Writes it down.
    pub(crate) fn keep(&self, path: &Path) -> Result<()> {
        let Self { zone, region } = self;
        secret_file::write_text(path, format!("{zone}\n{region}\n").as_bytes(), 0o644)
    }

    fn kept(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(path)
            .with_context(|| format!("failed to read {}", path.display()))?;
        let [zone, region] = text.lines().collect::<Vec<_>>()[..] else {
            bail!("{} does not hold a zone and a region", path.display());
        };
        Ok(Self::of(zone, region)?)
    }
}

/// Where the node stands: by its settings, else as it was told.
pub(crate) fn labels(settings: &Settings, path: &Path) -> Result<Labels> {
    let Place { zone, region } = Place::kept(path)?;
    let mut labels = settings.labels.clone();
    if labels.zone.is_empty() {
        labels.zone = zone;
    }
    if labels.region.is_empty() {
        labels.region = region;
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_and_the_settings_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("place");
        let settings = Settings::default();
        assert_eq!(labels(&settings, &path).unwrap(), settings.labels, "nobody said");
        Place::of("b", "eu").unwrap().keep(&path).unwrap();
        let told = labels(&settings, &path).unwrap();
        assert_eq!((told.zone.as_str(), told.region.as_str()), ("b", "eu"));
        let mut set = Settings::default();
        set.set("zone", "rack").unwrap();
        let both = labels(&set, &path).unwrap();
        assert_eq!((both.zone.as_str(), both.region.as_str()), ("rack", "eu"));
        assert!(Place::of("a zone", "").is_err());
    }
}
