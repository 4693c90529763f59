//! Who is in a network: its genesis, the cards of its nodes and the records of its pairs.

use std::collections::BTreeSet;

use crate::digest::digest;
use crate::format::{Format, FormatError, Reader, Writer};
use crate::ids::{Digest, Epoch, NetworkId, NodeId, PairId, hex, unhex};
use crate::receipt::NodeSignature;
use crate::statement::{Statement, stated};

/// What a network is made from. Its hash is the network's id, so whoever knows the id
/// can check who may admit nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Genesis {
    /// Drawn by the first node.
    pub random: [u8; 32],
    /// The compressed P-256 key whose signature admits nodes.
    pub invite_key: [u8; 33],
}

impl Genesis {
    /// What stands in a file that names the network: the encoding in hexadecimal, and a
    /// line's end.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}\n", hex(&self.encode()))
    }

    /// Reads what [`Genesis::to_text`] wrote.
    pub fn from_text(text: &str) -> Result<Self, FormatError> {
        // A version byte, 32 random bytes and a 33-byte key.
        let bytes = unhex::<66>(text.trim()).ok_or(FormatError::Invalid("network"))?;
        Self::decode(&bytes)
    }

    /// The id of this network.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        NetworkId(digest("defs 2026 network id", &self.encode()).0)
    }
}

impl Format for Genesis {
    const NAME: &'static str = "a network's genesis";
    fn write(&self, out: &mut Writer) {
        out.raw(&self.random);
        out.raw(&self.invite_key);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self { random: input.array("random")?, invite_key: input.array("invite key")? })
    }
}

/// "This node may be a member": signed by the invite key. Nodes without one are served
/// as clients and are never members or witnesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Who is admitted.
    pub node: NodeId,
}

impl Statement for Admission {
    fn statement(&self, network: &NetworkId) -> Digest {
        stated("defs 2026 admission", network, &self.node.0)
    }
}

/// Where a node stands; the two of a pair should differ early in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Labels {
    /// The machine.
    pub host: String,
    /// The zone, such as a rack or an availability zone.
    pub zone: String,
    /// The region.
    pub region: String,
}

/// The longest label.
pub const LABEL_MAX: usize = 253;

/// The most addresses that a card carries.
pub const ADDRESSES_MAX: usize = 16;

/// The longest address.
pub const ADDRESS_MAX: usize = 256;

/// What a node does, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Activity {
    /// It serves its pair, or waits for one.
    #[default]
    Ready,
    /// It takes over what its partner holds: the pair takes nothing new until it has all.
    Syncing,
    /// It wants to leave, or is about to stop: nobody chooses it.
    Draining,
}

impl Activity {
    fn number(self) -> u8 {
        match self {
            Self::Ready => 0,
            Self::Syncing => 1,
            Self::Draining => 2,
        }
    }

    fn of(number: u8) -> Result<Self, FormatError> {
        match number {
            0 => Ok(Self::Ready),
            1 => Ok(Self::Syncing),
            2 => Ok(Self::Draining),
            _ => Err(FormatError::Invalid("activity")),
        }
    }
}

/// Whether others can open a connection to a node, as far as it has found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reach {
    /// They can, or nothing speaks against it.
    #[default]
    Open,
    /// They can't: the node opens connections itself, or is reached through a relay.
    Hidden,
}

impl Reach {
    fn number(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Hidden => 1,
        }
    }

    fn of(number: u8) -> Result<Self, FormatError> {
        match number {
            0 => Ok(Self::Open),
            1 => Ok(Self::Hidden),
            _ => Err(FormatError::Invalid("reach")),
        }
    }
}

impl std::fmt::Display for Reach {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Open => "open",
            Self::Hidden => "hidden",
        })
    }
}

/// What a node says of itself; signed and gossiped. The highest sequence counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCard {
    /// The node's compressed P-256 key; its id is a hash of it.
    pub key: [u8; 33],
    /// Grows with every card of this node: Unix time in milliseconds.
    pub sequence: u64,
    /// Where it can be dialled, as multiaddresses.
    pub addresses: Vec<String>,
    /// Where it stands.
    pub labels: Labels,
    /// Bytes that it offers.
    pub capacity: u64,
    /// Bytes of these in use.
    pub used: u64,
    /// What it does now.
    pub activity: Activity,
    /// Whether it can be dialled.
    pub reach: Reach,
    /// The invite key's signature over this node's [`Admission`].
    pub admission: [u8; 64],
}

/// A card under its node's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCard {
    /// What is said.
    pub card: NodeCard,
    /// ECDSA of the card's key.
    pub signature: [u8; 64],
}

impl Statement for NodeCard {
    fn statement(&self, network: &NetworkId) -> Digest {
        stated("defs 2026 card", network, &self.encode())
    }
}

impl Format for NodeCard {
    const NAME: &'static str = "a node's card";
    /// 2 says what the node does, 3 whether it can be dialled.
    const VERSION: u8 = 3;
    fn write(&self, out: &mut Writer) {
        out.raw(&self.key);
        out.u64(self.sequence);
        out.list(&self.addresses, |out, address| out.bytes(address.as_bytes()));
        out.bytes(self.labels.host.as_bytes());
        out.bytes(self.labels.zone.as_bytes());
        out.bytes(self.labels.region.as_bytes());
        out.u64(self.capacity);
        out.u64(self.used);
        out.u8(self.activity.number());
        out.u8(self.reach.number());
        out.raw(&self.admission);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            key: input.array("key")?,
            sequence: input.u64("sequence")?,
            addresses: input
                .list("addresses", ADDRESSES_MAX, |input| input.text("address", ADDRESS_MAX))?,
            labels: Labels {
                host: input.text("host", LABEL_MAX)?,
                zone: input.text("zone", LABEL_MAX)?,
                region: input.text("region", LABEL_MAX)?,
            },
            capacity: input.u64("capacity")?,
            used: input.u64("used")?,
            activity: Activity::of(input.u8("activity")?)?,
            reach: Reach::of(input.u8("reach")?)?,
            admission: input.array("admission")?,
        })
    }
}

impl Format for SignedCard {
    const NAME: &'static str = "a node's card";
    const VERSION: u8 = NodeCard::VERSION;
    fn write(&self, out: &mut Writer) {
        self.card.write(out);
        out.raw(&self.signature);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self { card: NodeCard::read(input)?, signature: input.array("signature")? })
    }
}

/// The most witnesses of an epoch.
pub const WITNESSES_MAX: usize = 3;

/// One epoch of a pair. Epoch 1 is valid signed by both members; a later one as the
/// protocol document says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairRecord {
    /// Outlives its members.
    pub pair: PairId,
    /// Grows by one with every change of members, roles or witnesses.
    pub epoch: Epoch,
    /// The primary, then the mirror.
    pub members: [NodeId; 2],
    /// Up to [`WITNESSES_MAX`] nodes of other pairs; fewer where the network has fewer.
    pub witnesses: Vec<NodeId>,
    /// The digest of the record that this one follows.
    pub previous: Option<Digest>,
}

/// A member's place in its pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes writes and forwards them.
    Primary,
    /// Serves reads and watches.
    Mirror,
}

impl std::fmt::Display for Role {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Primary => "primary",
            Self::Mirror => "mirror",
        })
    }
}

impl PairRecord {
    /// The member that takes writes.
    #[must_use]
    pub fn primary(&self) -> NodeId {
        self.members[0]
    }

    /// The member that serves reads and watches.
    #[must_use]
    pub fn mirror(&self) -> NodeId {
        self.members[1]
    }

    /// The place of `node`, if it is a member.
    #[must_use]
    pub fn role_of(&self, node: &NodeId) -> Option<Role> {
        match self.members.iter().position(|member| member == node)? {
            0 => Some(Role::Primary),
            _ => Some(Role::Mirror),
        }
    }

    /// The other member, if `node` is one.
    #[must_use]
    pub fn partner_of(&self, node: &NodeId) -> Option<NodeId> {
        match self.role_of(node)? {
            Role::Primary => Some(self.mirror()),
            Role::Mirror => Some(self.primary()),
        }
    }

    /// The digest by which a successor names this record.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest("defs 2026 pair record id", &self.encode())
    }
}

impl Statement for PairRecord {
    fn statement(&self, network: &NetworkId) -> Digest {
        stated("defs 2026 pair record", network, &self.encode())
    }
}

impl Format for PairRecord {
    const NAME: &'static str = "a pair record";
    fn write(&self, out: &mut Writer) {
        out.raw(&self.pair.0);
        out.u64(self.epoch.0);
        out.raw(&self.members[0].0);
        out.raw(&self.members[1].0);
        out.list(&self.witnesses, |out, witness| out.raw(&witness.0));
        out.option(self.previous.as_ref(), |out, previous| out.raw(&previous.0));
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        let record = Self {
            pair: PairId(input.array("pair")?),
            epoch: Epoch(input.u64("epoch")?),
            members: [NodeId(input.array("primary")?), NodeId(input.array("mirror")?)],
            witnesses: input
                .list("witnesses", WITNESSES_MAX, |input| Ok(NodeId(input.array("witness")?)))?,
            previous: input.option("previous", |input| Ok(Digest(input.array("previous")?)))?,
        };
        let all: BTreeSet<_> = record.members.iter().chain(&record.witnesses).collect();
        if all.len() != 2 + record.witnesses.len() {
            return Err(FormatError::Invalid("members and witnesses"));
        }
        if record.epoch.0 == 0 || (record.epoch.0 == 1) != record.previous.is_none() {
            return Err(FormatError::Invalid("epoch"));
        }
        Ok(record)
    }
}

/// A pair record with the signatures that make it valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPairRecord {
    /// What is said.
    pub record: PairRecord,
    /// Of members and witnesses; at most 7.
    pub signatures: Vec<NodeSignature>,
}

impl Format for SignedPairRecord {
    const NAME: &'static str = "a pair record";
    fn write(&self, out: &mut Writer) {
        self.record.write(out);
        out.list(&self.signatures, |out, signature| signature.write(out));
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            record: PairRecord::read(input)?,
            signatures: input.list("signatures", 7, NodeSignature::read)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> PairRecord {
        PairRecord {
            pair: PairId([1; 16]),
            epoch: Epoch(1),
            members: [NodeId([1; 32]), NodeId([2; 32])],
            witnesses: vec![NodeId([3; 32])],
            previous: None,
        }
    }

    #[test]
    fn a_pair_record_reads_back_and_knows_its_roles() {
        let record = pair();
        assert_eq!(PairRecord::decode(&record.encode()).as_ref(), Ok(&record));
        assert_eq!(record.role_of(&NodeId([2; 32])), Some(Role::Mirror));
        assert_eq!(record.partner_of(&NodeId([2; 32])), Some(NodeId([1; 32])));
        assert_eq!(record.partner_of(&NodeId([3; 32])), None);
    }

    #[test]
    fn a_pair_of_one_node_or_witnessed_by_a_member_is_refused() {
        let alone = PairRecord { members: [NodeId([1; 32]); 2], ..pair() };
        assert!(PairRecord::decode(&alone.encode()).is_err());
        let partial = PairRecord { witnesses: vec![NodeId([1; 32])], ..pair() };
        assert!(PairRecord::decode(&partial.encode()).is_err());
    }

    #[test]
    fn only_the_first_epoch_follows_nothing() {
        let later = PairRecord { epoch: Epoch(2), ..pair() };
        assert_eq!(PairRecord::decode(&later.encode()), Err(FormatError::Invalid("epoch")));
    }

    #[test]
    fn a_card_reads_back() {
        let card = NodeCard {
            key: [2; 33],
            sequence: 9,
            addresses: vec!["/ip4/127.0.0.1/tcp/4100".into()],
            labels: Labels { host: "a".into(), zone: "b".into(), region: String::new() },
            capacity: 10,
            used: 3,
            activity: Activity::Syncing,
            reach: Reach::Hidden,
            admission: [4; 64],
        };
        let signed = SignedCard { card, signature: [5; 64] };
        assert_eq!(SignedCard::decode(&signed.encode()).as_ref(), Ok(&signed));
        let mut older = signed.encode();
        older[0] = NodeCard::VERSION - 1;
        assert!(matches!(SignedCard::decode(&older), Err(FormatError::Older { found: 2, .. })));
    }
}
