//! Names that the operator, the chart and the command line tools must agree on.

/// The API group of all kinds.
pub const GROUP: &str = "defs.bpfs.io";

/// The version of all kinds.
pub const VERSION: &str = "v1alpha1";

/// What stands as `apiVersion` in an object.
pub const API_VERSION: &str = "defs.bpfs.io/v1alpha1";

/// Who owns the fields that the operator applies. It never changes: fields of another name
/// would stay behind for ever.
pub const FIELD_MANAGER: &str = "defs-operator";

/// The port of a node's health and metrics: the chart's scrapes and probes know it.
pub const STATUS_PORT: u16 = 8080;

/// The longest name of a DefsCluster. Names of nodes, services and volumes are made from it
/// by adding at most 23 characters, and none may be longer than the 63 of a label.
pub const CLUSTER_NAME_MAX: usize = 40;

/// Labels on everything that the operator makes.
pub mod label {
    /// The application: always [`super::value::NAME`].
    pub const NAME: &str = "app.kubernetes.io/name";
    /// Which installation: the DefsCluster's name.
    pub const INSTANCE: &str = "app.kubernetes.io/instance";
    /// Which part: [`super::value::NODE`].
    pub const COMPONENT: &str = "app.kubernetes.io/component";
    /// The version that runs.
    pub const VERSION: &str = "app.kubernetes.io/version";
    /// The larger whole: always [`super::value::NAME`].
    pub const PART_OF: &str = "app.kubernetes.io/part-of";
    /// Who made it: always [`super::FIELD_MANAGER`].
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The DefsCluster that it belongs to.
    pub const CLUSTER: &str = "defs.bpfs.io/cluster";
    /// The DefsNode that it belongs to.
    pub const NODE: &str = "defs.bpfs.io/node";
    /// The DefsPair that it belongs to.
    pub const PAIR: &str = "defs.bpfs.io/pair";
}

/// What labels say.
pub mod value {
    /// The application's name.
    pub const NAME: &str = "defs";
    /// The component that stores: a node's pod and volume.
    pub const NODE: &str = "node";
}

/// Annotations that people set.
pub mod annotation {
    /// On a DefsCluster: carries out the plan whose id stands in `status.plan.id`, and no other.
    pub const APPROVE_PLAN: &str = "defs.bpfs.io/approve-plan";
    /// On a DefsPair: the id that the pair has in the network already.
    pub const PAIR_ID: &str = "defs.bpfs.io/pair-id";
    /// On what the operator applies: a digest of what it applied. Who finds other fields and this
    /// digest knows that somebody else changed them.
    pub const APPLIED: &str = "defs.bpfs.io/applied";
    /// On a pod: what it was made of. Pods of another revision are made anew one by one.
    pub const REVISION: &str = "defs.bpfs.io/revision";
    /// On a volume claim or the Secret `NAME-invite`, said by a person: it may be deleted though
    /// its DefsCluster is there. The chart's admission policy asks for it.
    pub const ALLOW_DELETION: &str = "defs.bpfs.io/allow-deletion";
    /// On a volume claim: the node that was given up before this volume was made in its place.
    pub const IN_PLACE_OF: &str = "defs.bpfs.io/in-place-of";
}

/// Finalizers.
pub mod finalizer {
    /// Keeps an object until the operator has undone what it stands for.
    pub const CLEANUP: &str = "defs.bpfs.io/cleanup";
}

/// The label selector of the pods of `cluster`, as the scale subresource needs it.
#[must_use]
pub fn pod_selector(cluster: &str) -> String {
    format!("{}={cluster},{}={}", label::CLUSTER, label::COMPONENT, value::NODE)
}
