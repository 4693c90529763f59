//! Where a user's things lie: `DEFS_HOME` moves all of them, and so does `dataDir`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A user's folder.
#[derive(Debug, Clone)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// `DEFS_HOME`, else the setting `dataDir` if it was given, else `defs` in the user's
    /// data folder.
    pub(crate) fn find(
        environment: impl Iterator<Item = (String, String)>,
        data_dir: &Path,
    ) -> Result<Self> {
        let (mut home, mut data, mut user) = (None, None, None);
        for (name, value) in environment.filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "DEFS_HOME" => home = Some(PathBuf::from(value)),
                "XDG_DATA_HOME" => data = Some(PathBuf::from(value).join("defs")),
                "HOME" => user = Some(PathBuf::from(value).join(".local/share/defs")),
                _ => {}
            }
        }
        // The default of `dataDir` is the folder below HOME.
        let given = Some(data_dir.to_owned()).filter(|path| Some(path) != user.as_ref());
        let path = home.or(given).or(data).or(user).context("neither DEFS_HOME nor HOME is set")?;
        Ok(Self(std::path::absolute(path)?))
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The owner's key.
    pub(crate) fn key(&self) -> PathBuf {
        self.0.join("key")
    }

    /// Catalogue and tasks.
    pub(crate) fn client(&self) -> PathBuf {
        self.0.join("client")
    }

    /// The local nodes.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.0.join("cluster")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(variables: &[(&str, &str)], data_dir: &str) -> Option<PathBuf> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Home::find(owned, Path::new(data_dir)).ok().map(|home| home.0)
    }

    #[test]
    fn defs_home_moves_everything_and_the_data_folder_as_well() {
        let default = "/u/.local/share/defs";
        assert_eq!(home(&[("HOME", "/u"), ("DEFS_HOME", "/d")], default), Some("/d".into()));
        assert_eq!(home(&[("HOME", "/u"), ("DEFS_HOME", "/d")], "/e"), Some("/d".into()));
        assert_eq!(home(&[("HOME", "/u"), ("XDG_DATA_HOME", "/x")], "/e"), Some("/e".into()));
        let data_home = &[("HOME", "/u"), ("XDG_DATA_HOME", "/x")];
        assert_eq!(home(data_home, default), Some("/x/defs".into()));
        assert_eq!(home(&[("HOME", "/u")], default), Some(default.into()));
    }
}
