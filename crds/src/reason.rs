//! Why something is as it is: the types of conditions and the reasons that conditions,
//! events and metrics share, each with its sentence for people.

use std::fmt;

/// Whom a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A DefsCluster.
    Cluster,
    /// A DefsPair.
    Pair,
    /// Any of the three.
    Any,
}

macro_rules! condition_types {
    ($(#[doc = $sentence:literal] $name:ident of $subject:ident,)+) => {
        /// What may be true of an object; the name of a condition.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ConditionType { $(#[doc = $sentence] $name,)+ }

        impl ConditionType {
            /// All of them, in the order in which people read them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// As it stands in an object.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it means when it is true.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence.trim_ascii(),)+ }
            }

            /// Whom it is about.
            #[must_use]
            pub const fn subject(self) -> Subject {
                match self { $(Self::$name => Subject::$subject,)+ }
            }
        }
    };
}

condition_types! {
    /// It does what it is there for.
    Ready of Any,
    /// Owners can store and read.
    Available of Cluster,
    /// The operator changes something to make it as asked.
    Progressing of Any,
    /// A part of it is away, and another does its work.
    Degraded of Any,
    /// As many nodes are paired as should be, and as many are spare.
    PairingSatisfied of Cluster,
    /// The two nodes of every pair differ as `topology` asks.
    TopologySatisfied of Cluster,
    /// As much may be lost without losing data as `durability` asks.
    DurabilityMet of Cluster,
    /// There is room for what owners will store soon.
    CapacityOk of Cluster,
    /// Every certificate is there and valid for a while.
    CertificatesReady of Cluster,
    /// The operator leaves something alone because a person said so.
    Paused of Any,
    /// So many nodes are silent that the operator takes itself to be cut off, and replaces nobody.
    OperatorIsolated of Cluster,
    /// Both members hold the same.
    Synced of Pair,
    /// Two members answer, so that one may be lost.
    RedundancyMet of Pair,
    /// The two members differ as `topology` asks.
    DomainsDistinct of Pair,
    /// A change of members has stood still for too long.
    MigrationStuck of Pair,
}

macro_rules! reasons {
    ($(#[doc = $sentence:literal] $kind:ident $name:ident,)+) => {
        /// Why a condition is as it is, or an event came: one list for conditions, events,
        /// metrics and docs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $(#[doc = $sentence] $name,)+ }

        impl Reason {
            /// All of them, in the order in which people read them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// As it stands in an object.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it says to people.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence.trim_ascii(),)+ }
            }

            /// Whether somebody should look: the type of its events.
            #[must_use]
            pub const fn is_warning(self) -> bool {
                match self { $(Self::$name => is_warning!($kind),)+ }
            }
        }
    };
}

macro_rules! is_warning {
    (normal) => {
        false
    };
    (warning) => {
        true
    };
}

reasons! {
    /// Everything is as asked.
    normal AsAsked,
    /// Nothing has been found out about it yet.
    normal NotSeenYet,

    /// Nodes start and find their first pairs.
    normal Forming,
    /// Nodes are added.
    normal ScalingUp,
    /// Nodes hand over what they hold, and are removed.
    normal ScalingDown,
    /// Volumes grow.
    normal Resizing,
    /// Pods are made anew with another version or other settings.
    normal RollingOut,
    /// Another node takes the place of one that is down.
    normal Replacing,
    /// A node takes another one's place because that fits better.
    normal Rebalancing,
    /// A plan for better pairs waits for the annotation that approves it.
    normal WaitingForApproval,
    /// The annotation approves another plan than the one that waits.
    warning PlanOutdated,
    /// Somebody changed an object that the operator makes; it is as it was again.
    warning PutBack,
    /// The installed CRDs are not those of this operator: fields that they lack are not kept.
    warning CrdsDiffer,

    /// Fewer nodes serve than were asked for.
    warning NodesMissing,
    /// The pod of a node finds no machine that it may run on.
    warning PodUnschedulable,
    /// The pod of a node ends again and again.
    warning PodCrashing,
    /// The image can't be pulled.
    warning ImageNotPulled,
    /// The volume of a node is not there yet, or can't be had.
    warning VolumeMissing,
    /// A node came back without what it held: its volume is another one.
    warning VolumeLost,
    /// The storage class doesn't let volumes grow.
    warning VolumeNotResizable,

    /// A node has joined the network.
    normal NodeJoined,
    /// A node didn't answer for a while; its partner serves.
    warning NodeSuspected,
    /// A node answers again.
    normal NodeReturned,
    /// Two who are independent of each other say that a node is down.
    warning NodeDown,
    /// Another node has taken the place of one.
    normal NodeReplaced,
    /// A person has given up what a node alone held.
    warning NodeGivenUp,
    /// A node hands over what it holds, to leave.
    normal NodeDraining,
    /// A node holds nothing any more, and may go.
    normal NodeDrained,

    /// A pair was formed.
    normal PairFormed,
    /// A pair that nodes are in had no object, and has one again.
    normal PairAdopted,
    /// A node has no partner: the number of nodes is odd, or no other fits.
    warning NodeUnpaired,
    /// Fewer nodes are spare than `minSpares` asks.
    warning SparesMissing,
    /// One member of a pair is away; the other serves reads.
    warning MemberAway,
    /// Both members of a pair are gone for good; what it held is rebuilt elsewhere.
    warning PairLost,
    /// Another member takes the writes of a pair now.
    normal RoleChanged,
    /// A member copies what the other has.
    normal CatchingUp,
    /// A member lacks something and gets nothing.
    warning MirrorBehind,
    /// The planner leaves a pair alone: a person has chosen its members.
    normal Pinned,

    /// A change of members has begun.
    normal MigrationStarted,
    /// A change of members makes no progress.
    warning MigrationStalled,
    /// A change of members is done.
    normal MigrationDone,
    /// A change of members was given up; the pair is as before.
    warning MigrationFailed,

    /// The two nodes of a pair stand in one domain in which they must differ.
    warning DomainsShared,
    /// There are fewer domains than `topology` needs.
    warning DomainsMissing,
    /// Less may be lost without losing data than was asked.
    warning DurabilityBelow,
    /// More than four fifths of the room are in use.
    warning NearlyFull,
    /// Nothing new can be stored.
    warning Full,

    /// A certificate is not there yet.
    warning CertificateMissing,
    /// A certificate ends soon and is not renewed.
    warning CertificateExpiring,
    /// The issuer of certificates is not there or not ready.
    warning IssuerNotReady,

    /// A person has paused something.
    normal PausedByPerson,
    /// The pause has ended at its time.
    normal PauseEnded,
    /// More nodes are silent at once than `freezeAbovePercent`: nothing is replaced.
    warning TooManySilent,
    /// The operator reaches no node and takes itself to be cut off.
    warning CutOff,
    /// Nodes answer the operator.
    normal Reachable,

    /// The object asks for something that can't be done.
    warning InvalidSpec,
    /// Kubernetes has refused what the operator applied.
    warning ApplyRefused,
    /// A secret without which nobody can speak to the nodes is gone.
    warning SecretMissing,
    /// A node has refused what the operator asked of it.
    warning NodeRefused,
}

impl fmt::Display for ConditionType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_a_word_that_kubernetes_takes() {
        let types = ConditionType::ALL.iter().map(|kind| kind.name());
        let names = types.chain(Reason::ALL.iter().map(|reason| reason.name()));
        for name in names {
            assert!(name.len() <= 63 && name.chars().all(|letter| letter.is_ascii_alphanumeric()));
            assert!(name.starts_with(|letter: char| letter.is_ascii_uppercase()), "{name}");
        }
    }

    #[test]
    fn every_sentence_is_one_and_said_once() {
        let types = ConditionType::ALL.iter().map(|kind| kind.sentence());
        let sentences: Vec<_> =
            types.chain(Reason::ALL.iter().map(|reason| reason.sentence())).collect();
        for sentence in &sentences {
            assert!(sentence.ends_with('.') && !sentence.starts_with(' '), "{sentence}");
        }
        let distinct: BTreeSet<_> = sentences.iter().collect();
        assert_eq!(distinct.len(), sentences.len());
    }
}
