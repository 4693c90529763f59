//! BLAKE3 under a domain label, and Merkle trees over such digests, by which one
//! signature covers many small things.

use crate::format::{Format, FormatError, Reader, Writer};
use crate::ids::{Digest, FileId, Locator, LockHash, NetworkId, ShardId, StripeTag};

/// BLAKE3 in key-derivation mode with `label` as context: digests made under different
/// labels never meet.
#[must_use]
pub fn digest(label: &'static str, bytes: &[u8]) -> Digest {
    Digest(*blake3::Hasher::new_derive_key(label).update(bytes).finalize().as_bytes())
}

/// The name of sealed shard bytes: plain BLAKE3, so that anybody can check it.
#[must_use]
pub fn shard_id(sealed: &[u8]) -> ShardId {
    ShardId(*blake3::hash(sealed).as_bytes())
}

/// [`shard_id`] of bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub struct ShardHasher(blake3::Hasher);

impl ShardHasher {
    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The name of all pieces together.
    #[must_use]
    pub fn finish(&self) -> ShardId {
        ShardId(*self.0.finalize().as_bytes())
    }
}

/// The name of a lock script.
#[must_use]
pub fn lock_hash(lock: &[u8]) -> LockHash {
    LockHash(digest("defs 2026 lock", lock).0)
}

/// The file id that only the holder of `lock` may write under; `random` is 32 fresh bytes.
#[must_use]
pub fn file_id(lock: &[u8], random: &[u8; 32]) -> FileId {
    let mut bytes = Vec::with_capacity(lock.len() + random.len());
    bytes.extend_from_slice(lock);
    bytes.extend_from_slice(random);
    FileId(digest("defs 2026 file id", &bytes).0)
}

/// What a broadcast for a file's records asks for.
#[must_use]
pub fn file_locator(network: &NetworkId, file: &FileId) -> Locator {
    locator(network, b'f', &file.0)
}

/// What a broadcast for a stripe's shards asks for.
#[must_use]
pub fn stripe_locator(network: &NetworkId, tag: &StripeTag) -> Locator {
    locator(network, b's', &tag.0)
}

fn locator(network: &NetworkId, kind: u8, id: &[u8]) -> Locator {
    Locator(*blake3::Hasher::new_keyed(&network.0).update(&[kind]).update(id).finalize().as_bytes())
}

/// Items that one signature may cover.
pub const BATCH_MAX: usize = 64;

/// The way from one leaf to the root of a Merkle tree of at most [`BATCH_MAX`] leaves.
///
/// A leaf stands under another label than an inner node, so neither can pass for the
/// other. A node without a sibling rises unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MerklePath {
    /// Siblings from the leaf up; `true` where the sibling stands on the left.
    pub siblings: Vec<(bool, Digest)>,
}

impl MerklePath {
    /// The root that this path leads to from `leaf`.
    #[must_use]
    pub fn root(&self, leaf: &Digest) -> Digest {
        self.siblings.iter().fold(merkle_leaf(leaf), |below, (left, sibling)| {
            if *left { merkle_node(sibling, &below) } else { merkle_node(&below, sibling) }
        })
    }
}

impl Format for MerklePath {
    const NAME: &'static str = "a Merkle path";
    fn write(&self, out: &mut Writer) {
        out.list(&self.siblings, |out, (left, sibling)| {
            out.u8(u8::from(*left));
            out.raw(&sibling.0);
        });
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        // 2^6 leaves: no path is longer.
        let siblings = input.list("path", 6, |input| {
            let left = match input.u8("side")? {
                0 => false,
                1 => true,
                _ => return Err(FormatError::Invalid("side")),
            };
            Ok((left, Digest(input.array("sibling")?)))
        })?;
        Ok(Self { siblings })
    }
}

/// The root over `leaves` and each leaf's path, in order. `leaves` holds 1 to
/// [`BATCH_MAX`] items.
#[must_use]
pub fn merkle_tree(leaves: &[Digest]) -> (Digest, Vec<MerklePath>) {
    let mut paths = vec![MerklePath::default(); leaves.len()];
    let mut level: Vec<(Digest, Vec<usize>)> =
        leaves.iter().enumerate().map(|(place, leaf)| (merkle_leaf(leaf), vec![place])).collect();
    while level.len() > 1 {
        let mut above = Vec::with_capacity(level.len().div_ceil(2));
        let mut nodes = level.into_iter();
        while let Some((left, mut places)) = nodes.next() {
            let Some((right, right_places)) = nodes.next() else {
                above.push((left, places));
                break;
            };
            for place in &places {
                paths[*place].siblings.push((false, right));
            }
            for place in &right_places {
                paths[*place].siblings.push((true, left));
            }
            places.extend(right_places);
            above.push((merkle_node(&left, &right), places));
        }
        level = above;
    }
    let root =
        level.into_iter().next().map_or_else(|| digest("defs 2026 merkle", &[]), |top| top.0);
    (root, paths)
}

fn merkle_leaf(leaf: &Digest) -> Digest {
    digest("defs 2026 merkle leaf", &leaf.0)
}

fn merkle_node(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&left.0);
    bytes[32..].copy_from_slice(&right.0);
    digest("defs 2026 merkle node", &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_of_every_tree_size_leads_to_the_root_and_no_other_leaf_does() {
        for size in 1..=BATCH_MAX {
            let leaves: Vec<_> =
                (0..size).map(|place| digest("test", &place.to_le_bytes())).collect();
            let (root, paths) = merkle_tree(&leaves);
            for (leaf, path) in leaves.iter().zip(&paths) {
                assert_eq!(path.root(leaf), root);
                assert_ne!(path.root(&digest("test", b"other")), root);
                assert_eq!(MerklePath::decode(&path.encode()).as_ref(), Ok(path));
            }
        }
    }

    #[test]
    fn an_inner_node_cannot_pass_for_a_leaf() {
        let leaves = [digest("test", b"a"), digest("test", b"b")];
        let (root, _) = merkle_tree(&leaves);
        assert_ne!(MerklePath::default().root(&root), root);
    }

    #[test]
    fn a_locator_depends_on_network_kind_and_id() {
        let one = file_locator(&NetworkId([1; 32]), &FileId([2; 32]));
        assert_ne!(one, file_locator(&NetworkId([3; 32]), &FileId([2; 32])));
        assert_ne!(one.0, stripe_locator(&NetworkId([1; 32]), &StripeTag([2; 16])).0);
    }
}
