//! Where a user's things lie: `DEFS_HOME` moves all of them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A user's folder.
#[derive(Debug, Clone)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// `DEFS_HOME`, else `defs` in the user's data folder.
    pub(crate) fn find(environment: impl Iterator<Item = (String, String)>) -> Result<Self> {
        let (mut home, mut data, mut user) = (None, None, None);
        for (name, value) in environment.filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "DEFS_HOME" => home = Some(PathBuf::from(value)),
                "XDG_DATA_HOME" => data = Some(PathBuf::from(value).join("defs")),
                "HOME" => user = Some(PathBuf::from(value).join(".local/share/defs")),
                _ => {}
            }
        }
        let path = home.or(data).or(user).context("neither DEFS_HOME nor HOME is set")?;
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

    fn home(variables: &[(&str, &str)]) -> Option<PathBuf> {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Home::find(owned).ok().map(|home| home.0)
    }

    #[test]
    fn defs_home_moves_everything() {
        assert_eq!(home(&[("HOME", "/u"), ("DEFS_HOME", "/d")]), Some("/d".into()));
        assert_eq!(home(&[("HOME", "/u"), ("XDG_DATA_HOME", "/x")]), Some("/x/defs".into()));
        assert_eq!(home(&[("HOME", "/u")]), Some("/u/.local/share/defs".into()));
        assert_eq!(home(&[("HOME", "")]), None);
    }
}
