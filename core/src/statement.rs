//! What an owner signs: statements about objects, valid at any holder for ever, and
//! sessions, which die with a connection. Both are opened by executing the object's
//! lock script; see the identity crate.

use crate::digest::{MerklePath, digest, lock_hash};
use crate::format::{Format, FormatError, Reader, Writer};
use crate::ids::{Digest, LockHash, NetworkId, NodeId, StripeId};

/// The longest lock script: fits 15 compressed keys of an m-of-n.
pub const LOCK_MAX: usize = 1024;

/// The longest unlock script: fits 15 signatures.
pub const UNLOCK_MAX: usize = 2048;

/// A script that says who may act on an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lock(Vec<u8>);

impl Lock {
    /// `script` holds 1 to [`LOCK_MAX`] bytes.
    pub fn new(script: Vec<u8>) -> Result<Self, FormatError> {
        match script.len() {
            0 => Err(FormatError::Invalid("lock")),
            1..=LOCK_MAX => Ok(Self(script)),
            length => Err(FormatError::TooLong { field: "lock", length, bound: LOCK_MAX }),
        }
    }

    /// The script's bytes.
    #[must_use]
    pub fn script(&self) -> &[u8] {
        &self.0
    }

    /// The name of this lock.
    #[must_use]
    pub fn hash(&self) -> LockHash {
        lock_hash(&self.0)
    }
}

impl Format for Lock {
    const NAME: &'static str = "a lock";
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Self::new(input.bytes("lock", LOCK_MAX)?.to_vec())
    }
}

/// What opens a lock for one statement: a script that leaves the lock's inputs on the
/// stack, and the way from the statement to the Merkle root that was signed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unlock {
    /// At most [`UNLOCK_MAX`] bytes.
    pub script: Vec<u8>,
    /// From the statement's digest to the signed root.
    pub path: MerklePath,
}

impl Format for Unlock {
    const NAME: &'static str = "an unlock";
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.script);
        self.path.write(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            script: input.bytes("unlock script", UNLOCK_MAX)?.to_vec(),
            path: MerklePath::read(input)?,
        })
    }
}

/// Something an owner signs.
pub trait Statement {
    /// What the signature covers: a domain label of this kind of statement over network,
    /// object and version.
    fn statement(&self, network: &NetworkId) -> Digest;
}

/// Under `label`: the network, and what is stated.
pub(crate) fn stated(label: &'static str, network: &NetworkId, what: &[u8]) -> Digest {
    let mut bytes = Vec::with_capacity(NetworkId::SIZE + what.len());
    bytes.extend_from_slice(&network.0);
    bytes.extend_from_slice(what);
    digest(label, &bytes)
}

/// A statement with what opens its lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<T> {
    /// What is stated.
    pub body: T,
    /// What opens the lock.
    pub unlock: Unlock,
}

impl<T: Format> Format for Signed<T> {
    const NAME: &'static str = T::NAME;
    const VERSION: u8 = T::VERSION;
    fn write(&self, out: &mut Writer) {
        self.body.write(out);
        self.unlock.write(out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self { body: T::read(input)?, unlock: Unlock::read(input)? })
    }
}

/// "This stripe belongs to a finished file: keep it."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commit {
    /// The stripe to keep.
    pub stripe: StripeId,
}

impl Statement for Commit {
    fn statement(&self, network: &NetworkId) -> Digest {
        stated("defs 2026 commit", network, &self.stripe.0)
    }
}

impl Format for Commit {
    const NAME: &'static str = "a commit";
    fn write(&self, out: &mut Writer) {
        out.raw(&self.stripe.0);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self { stripe: StripeId(input.array("stripe")?) })
    }
}

/// "This stripe is deleted: drop it, never rebuild it, hand this on."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tombstone {
    /// The stripe to drop.
    pub stripe: StripeId,
}

impl Statement for Tombstone {
    fn statement(&self, network: &NetworkId) -> Digest {
        stated("defs 2026 tombstone", network, &self.stripe.0)
    }
}

impl Format for Tombstone {
    const NAME: &'static str = "a tombstone";
    fn write(&self, out: &mut Writer) {
        out.raw(&self.stripe.0);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self { stripe: StripeId(input.array("stripe")?) })
    }
}

/// What a session may do. Deleting is never a session's right: it takes a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Operations(u8);

impl Operations {
    /// Read shards and records.
    pub const READ: Self = Self(1);
    /// List what a lock owns at this node.
    pub const LIST: Self = Self(2);
    /// Renew leases.
    pub const RENEW: Self = Self(4);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is allowed.
    #[must_use]
    pub const fn allow(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a client asks of one node for the length of a connection. The statement names
/// both ends and the node's fresh challenge, so it is worth nothing anywhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// What is asked for.
    pub operations: Operations,
    /// Whose objects.
    pub lock: Lock,
    /// Who asks: the transport's authenticated peer.
    pub client: NodeId,
    /// Who is asked.
    pub node: NodeId,
    /// Drawn by the node for this connection.
    pub challenge: [u8; 32],
    /// Unix time in milliseconds after which the session ends.
    pub not_after_ms: u64,
}

impl Statement for Session {
    fn statement(&self, network: &NetworkId) -> Digest {
        let mut out = Writer::default();
        out.u8(self.operations.0);
        out.raw(&self.lock.hash().0);
        out.raw(&self.client.0);
        out.raw(&self.node.0);
        out.raw(&self.challenge);
        out.u64(self.not_after_ms);
        stated("defs 2026 session", network, &out.into_bytes())
    }
}

impl Format for Session {
    const NAME: &'static str = "a session";
    fn write(&self, out: &mut Writer) {
        out.u8(self.operations.0);
        self.lock.write(out);
        out.raw(&self.client.0);
        out.raw(&self.node.0);
        out.raw(&self.challenge);
        out.u64(self.not_after_ms);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let operations = input.u8("operations")?;
        if operations == 0 || operations > 7 {
            return Err(FormatError::Invalid("operations"));
        }
        Ok(Self {
            operations: Operations(operations),
            lock: Lock::read(input)?,
            client: NodeId(input.array("client")?),
            node: NodeId(input.array("node")?),
            challenge: input.array("challenge")?,
            not_after_ms: input.u64("not after")?,
        })
    }
}
