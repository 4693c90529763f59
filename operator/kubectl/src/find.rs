//! Finds the objects that a person names, and says which there are when there is none.

use std::fmt::Write as _;

use defs_crds::{DefsCluster, DefsNode, DefsPair};
use kube::ResourceExt;
use thiserror::Error;

use crate::seen::Seen;

/// Names that are listed; more would hide the sentence.
const LISTED_MAX: usize = 20;

/// Why nothing was found.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum FindError {
    /// Nothing has this name.
    #[error("there is no {what} `{name}` {place}; {known}")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        name: String,
        /// Where.
        place: String,
        /// Those that there are.
        known: String,
    },
    /// Several have this name.
    #[error("`{name}` names {them}: say which, such as `pair/{name}`, and the namespace with -n")]
    Ambiguous {
        /// The name.
        name: String,
        /// What has it.
        them: String,
    },
    /// One was to be taken, and there isn't just one.
    #[error("name a DefsCluster: {known} {place}")]
    NotOne {
        /// Those that there are.
        known: String,
        /// Where.
        place: String,
    },
    /// One was to be taken, and there is none.
    #[error("there is no DefsCluster {place}; -n chooses another namespace, -A all")]
    None {
        /// Where.
        place: String,
    },
}

/// An object of one of our kinds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject<'a> {
    Cluster(&'a DefsCluster),
    Pair(&'a DefsPair),
    Node(&'a DefsNode),
}

/// Which kinds a person may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meant {
    Any,
    Cluster,
    Pair,
    Node,
}

impl Meant {
    fn what(self) -> &'static str {
        match self {
            Self::Any => "DefsCluster, DefsPair or DefsNode",
            Self::Cluster => "DefsCluster",
            Self::Pair => "DefsPair",
            Self::Node => "DefsNode",
        }
    }

    /// As kubectl has it: singular, plural, short name.
    fn of(word: &str) -> Option<Self> {
        match word {
            "cluster" | "defscluster" | "defsclusters" | "dfc" => Some(Self::Cluster),
            "pair" | "defspair" | "defspairs" | "dfp" => Some(Self::Pair),
            "node" | "defsnode" | "defsnodes" | "dfn" => Some(Self::Node),
            _ => None,
        }
    }

    fn includes(self, kind: Self) -> bool {
        self == Self::Any || self == kind
    }
}

impl Seen {
    /// The cluster of this name, or all.
    pub(crate) fn clusters_named(
        &self,
        name: Option<&str>,
    ) -> Result<Vec<&DefsCluster>, FindError> {
        match name {
            Some(name) => self.cluster_named(name).map(|cluster| vec![cluster]),
            None => Ok(self.clusters.iter().collect()),
        }
    }

    /// The cluster of this name, or the only one.
    pub(crate) fn one_cluster(&self, name: Option<&str>) -> Result<&DefsCluster, FindError> {
        match (name, &self.clusters[..]) {
            (Some(name), _) => self.cluster_named(name),
            (None, [only]) => Ok(only),
            (None, []) => Err(FindError::None { place: self.scope.to_string() }),
            (None, several) => Err(FindError::NotOne {
                known: listed(several.iter().map(ResourceExt::name_any)),
                place: self.scope.to_string(),
            }),
        }
    }

    fn cluster_named(&self, name: &str) -> Result<&DefsCluster, FindError> {
        match self.named(name, Meant::Cluster)? {
            Subject::Cluster(cluster) => Ok(cluster),
            Subject::Pair(_) | Subject::Node(_) => Err(self.unknown(name, Meant::Cluster)),
        }
    }

    pub(crate) fn pair_named(&self, name: &str) -> Result<&DefsPair, FindError> {
        match self.named(name, Meant::Pair)? {
            Subject::Pair(pair) => Ok(pair),
            Subject::Cluster(_) | Subject::Node(_) => Err(self.unknown(name, Meant::Pair)),
        }
    }

    pub(crate) fn node_named(&self, name: &str) -> Result<&DefsNode, FindError> {
        match self.named(name, Meant::Node)? {
            Subject::Node(node) => Ok(node),
            Subject::Cluster(_) | Subject::Pair(_) => Err(self.unknown(name, Meant::Node)),
        }
    }

    /// The object that a person means by `text`: a name, or a kind and a name.
    pub(crate) fn named(&self, text: &str, meant: Meant) -> Result<Subject<'_>, FindError> {
        let said = text.split_once('/');
        let (meant, name) = match said.and_then(|(kind, name)| Some((Meant::of(kind)?, name))) {
            Some((kind, name)) if meant.includes(kind) => (kind, name),
            _ => (meant, text),
        };
        let found: Vec<_> = self.subjects(meant).filter(|it| it.name() == name).collect();
        match found[..] {
            [] => Err(self.unknown(name, meant)),
            [only] => Ok(only),
            _ => Err(FindError::Ambiguous { name: name.to_owned(), them: all(&found) }),
        }
    }

    fn subjects(&self, meant: Meant) -> impl Iterator<Item = Subject<'_>> {
        let clusters = self.clusters.iter().map(Subject::Cluster);
        let pairs = self.pairs.iter().map(Subject::Pair);
        let nodes = self.nodes.iter().map(Subject::Node);
        let is_meant = move |it: &Subject<'_>| meant.includes(it.meant());
        clusters.chain(pairs).chain(nodes).filter(is_meant)
    }

    fn unknown(&self, name: &str, meant: Meant) -> FindError {
        FindError::Unknown {
            what: meant.what(),
            name: name.to_owned(),
            place: self.scope.to_string(),
            known: listed(self.subjects(meant).map(Subject::name)),
        }
    }
}

impl Subject<'_> {
    fn meant(&self) -> Meant {
        match self {
            Self::Cluster(_) => Meant::Cluster,
            Self::Pair(_) => Meant::Pair,
            Self::Node(_) => Meant::Node,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Cluster(it) => it.name_any(),
            Self::Pair(it) => it.name_any(),
            Self::Node(it) => it.name_any(),
        }
    }

    fn namespace(self) -> String {
        let namespace = match self {
            Self::Cluster(it) => it.namespace(),
            Self::Pair(it) => it.namespace(),
            Self::Node(it) => it.namespace(),
        };
        namespace.unwrap_or_default()
    }
}

fn all(found: &[Subject<'_>]) -> String {
    let said = found.iter().map(|it| format!("a {} of {}", it.meant().what(), it.namespace()));
    said.collect::<Vec<_>>().join(" and ")
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        return "there are none".to_owned();
    }
    let mut text = format!("there are {}", names[..names.len().min(LISTED_MAX)].join(", "));
    if names.len() > LISTED_MAX {
        // Writing to a text can't fail.
        write!(text, " and {} more", names.len() - LISTED_MAX).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::example;

    #[test]
    fn an_unknown_name_is_refused_with_those_there_are() {
        let seen = example::healthy();
        let refused = seen.clusters_named(Some("demmo")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "there is no DefsCluster `demmo` in namespace shop; there are demo"
        );
        let refused = seen.node_named("demo").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "there is no DefsNode `demo` in namespace shop; there are demo-0, demo-1, demo-2, \
             demo-3, demo-4"
        );
    }

    #[test]
    fn a_name_of_several_kinds_takes_its_kind() {
        let mut seen = example::healthy();
        seen.clusters.push(example::cluster("demo-1", &json!({}), &json!({})));
        let refused = seen.named("demo-1", Meant::Any).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`demo-1` names a DefsCluster of shop and a DefsNode of shop: say which, such as \
             `pair/demo-1`, and the namespace with -n"
        );
        assert!(matches!(seen.named("node/demo-1", Meant::Any), Ok(Subject::Node(_))));
        assert!(matches!(seen.named("dfc/demo-1", Meant::Any), Ok(Subject::Cluster(_))));
        assert!(seen.one_cluster(None).is_err());
        assert_eq!(seen.one_cluster(Some("demo")).unwrap().name_any(), "demo");
    }
}
