//! How a node comes to its network: it was told, or it founds one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use defs_core::ids::{NodeId, hex, unhex};
use defs_core::network::{Admission, Genesis};
use defs_core::port::Randomness;
use defs_core::settings::Settings;
use defs_core::statement::Statement;
use defs_identity::{Direct, SecretKey, verify_node};
use defs_launch::OsRandom;
use zeroize::Zeroizing;

use crate::data_folder::DataFolder;
use crate::secret_file;

/// The network of this node and what admits the node to it.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) genesis: Genesis,
    pub(crate) admission: [u8; 64],
}

impl Membership {
    /// What the data folder remembers, else what the settings say.
    pub(crate) fn find(folder: &DataFolder, settings: &Settings, key: &SecretKey) -> Result<Self> {
        let genesis = genesis(folder, settings)?;
        let admission = admission(folder, settings, &genesis, key)?;
        Ok(Self { genesis, admission })
    }

    /// Whether there is an admission, or an invite to make one with.
    pub(crate) fn can_be_found(
        folder: &DataFolder,
        settings: &Settings,
        key: &SecretKey,
    ) -> Result<bool> {
        let genesis = genesis(folder, settings)?;
        let is_kept = kept_admission(folder, &genesis, key.public().node_id()).is_some();
        Ok(is_kept || invite_path(folder, settings).exists())
    }
}

pub(crate) fn genesis(folder: &DataFolder, settings: &Settings) -> Result<Genesis> {
    let kept = folder.network();
    if let Some(path) = &settings.network_file {
        let genesis = read_genesis(path)?;
        if kept.exists() && read_genesis(&kept)? != genesis {
            bail!(
                "this data folder belongs to another network than {}: give the node another \
                 folder with --data-dir",
                path.display()
            );
        }
        write_genesis(&kept, &genesis)?;
        return Ok(genesis);
    }
    if kept.exists() {
        return read_genesis(&kept);
    }
    if !settings.bootstrap {
        bail!(
            "this node has no network yet: give it --network-file and --invite-file of the first \
             node, or found a network with --bootstrap"
        );
    }
    found(folder)
}

/// Makes a network whose first node this is. The invite is written first: a network
/// without one could never grow.
fn found(folder: &DataFolder) -> Result<Genesis> {
    let invite = match secret_file::read(&folder.invite())? {
        Some(invite) => SecretKey::from_bytes(&invite)?,
        None => {
            let invite = SecretKey::from_seed(&Zeroizing::new(OsRandom.array()));
            secret_file::write(&folder.invite(), &invite.to_bytes())?;
            invite
        }
    };
    let genesis = Genesis { random: OsRandom.array(), invite_key: invite.public().to_bytes() };
    write_genesis(&folder.network(), &genesis)?;
    tracing::info!(network = %genesis.network(), "a network is founded");
    Ok(genesis)
}

fn write_genesis(path: &Path, genesis: &Genesis) -> Result<()> {
    secret_file::write_text(path, genesis.to_text().as_bytes(), 0o644)
}

/// The network that a file names.
pub(crate) fn read_genesis(path: &Path) -> Result<Genesis> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("failed to read the network file {}", path.display()))?;
    Genesis::from_text(&text).with_context(|| format!("{} does not name a network", path.display()))
}

fn admission(
    folder: &DataFolder,
    settings: &Settings,
    genesis: &Genesis,
    key: &SecretKey,
) -> Result<[u8; 64]> {
    let node = key.public().node_id();
    if let Some(kept) = kept_admission(folder, genesis, node) {
        return Ok(kept);
    }
    let path = invite_path(folder, settings);
    let Some(invite) = secret_file::read(&path)? else {
        bail!(
            "this node is not admitted to network {} yet: give it --invite-file",
            genesis.network()
        );
    };
    let invite = SecretKey::from_bytes(&invite)
        .with_context(|| format!("{} does not hold an invite", path.display()))?;
    if invite.public().to_bytes() != genesis.invite_key {
        bail!("the invite {} is for another network", path.display());
    }
    let admission = invite.sign(&Admission { node }.statement(&genesis.network())).0;
    keep_admission(&folder.admission(), &admission)?;
    Ok(admission)
}

fn invite_path(folder: &DataFolder, settings: &Settings) -> PathBuf {
    settings.invite_file.clone().unwrap_or_else(|| folder.invite())
}

fn kept_admission(folder: &DataFolder, genesis: &Genesis, node: NodeId) -> Option<[u8; 64]> {
    let kept = fs::read_to_string(folder.admission()).ok()?;
    unhex::<64>(kept.trim()).filter(|kept| admits(genesis, node, kept))
}

/// Whether `admission` makes `node` a member of the network.
pub(crate) fn admits(genesis: &Genesis, node: NodeId, admission: &[u8; 64]) -> bool {
    let statement = Admission { node }.statement(&genesis.network());
    verify_node(&genesis.invite_key, &statement, admission, &Direct).is_ok()
}

/// Writes the admission of the node whose file this is.
pub(crate) fn keep_admission(path: &Path, admission: &[u8; 64]) -> Result<()> {
    secret_file::write_text(path, format!("{}\n", hex(admission)).as_bytes(), 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(folder: &Path, set: &[(&str, &Path)]) -> Result<Membership> {
        let mut settings = Settings::default();
        for (name, path) in set {
            settings.set(name, path.to_str().context("a Unicode path")?)?;
        }
        let folder = DataFolder::open(folder)?;
        let key = SecretKey::from_bytes(&*folder.key()?)?;
        Membership::find(&folder, &settings, &key)
    }

    fn founder(folder: &Path) -> Membership {
        let mut settings = Settings::default();
        settings.set("bootstrap", "true").unwrap();
        let folder = DataFolder::open(folder).unwrap();
        let key = SecretKey::from_bytes(&folder.key().unwrap()).unwrap();
        Membership::find(&folder, &settings, &key).unwrap()
    }

    #[test]
    fn the_first_node_founds_a_network_and_its_files_admit_others_for_good() {
        let temporary = tempfile::tempdir().unwrap();
        let (first, second) = (temporary.path().join("1"), temporary.path().join("2"));
        let network = founder(&first).genesis;
        assert_eq!(founder(&first).genesis, network);
        let files =
            [("networkFile", &*first.join("network")), ("inviteFile", &*first.join("invite"))];
        let joined = node(&second, &files).unwrap();
        assert_eq!(joined.genesis, network);
        // The second start needs neither file.
        assert_eq!(node(&second, &[]).unwrap().admission, joined.admission);
    }

    #[test]
    fn a_node_without_network_or_invite_says_what_to_give_it() {
        let temporary = tempfile::tempdir().unwrap();
        let lost = node(&temporary.path().join("1"), &[]).unwrap_err().to_string();
        assert!(lost.contains("--network-file") && lost.contains("--bootstrap"), "{lost}");
        let first = temporary.path().join("2");
        founder(&first);
        let network = first.join("network");
        let stranger = node(&temporary.path().join("3"), &[("networkFile", &network)]);
        assert!(stranger.unwrap_err().to_string().contains("--invite-file"));
    }

    #[test]
    fn a_folder_of_one_network_is_not_used_for_another() {
        let temporary = tempfile::tempdir().unwrap();
        let (first, other) = (temporary.path().join("1"), temporary.path().join("2"));
        founder(&first);
        founder(&other);
        let refused = node(&first, &[("networkFile", &other.join("network"))]).unwrap_err();
        assert!(refused.to_string().contains("another network"));
    }
}
