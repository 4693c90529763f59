//! `kubectl defs tree`: clusters with their pairs, members and spares.

use anyhow::Result;
use defs_crds::node::status::{NodeState, Role};
use defs_crds::{DefsCluster, DefsNode, DefsPair};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{pair, status};
use crate::access::{Access, Scope};
use crate::figures::{UNKNOWN, percent};
use crate::migration;
use crate::say::{Say, table};
use crate::seen::{Seen, members, see};

pub(super) async fn run(access: &Access, cluster: Option<&str>, say: Say) -> Result<()> {
    let seen = see(access).await?;
    let clusters = seen.clusters_named(cluster)?;
    say.answer(|| json(&seen, &clusters), || text(&seen, &clusters));
    Ok(())
}

/// A line of the tree: what it hangs on, and its cells.
struct Line {
    depth: usize,
    cells: Vec<String>,
}

fn text(seen: &Seen, clusters: &[&DefsCluster]) -> String {
    let mut text = Vec::new();
    if !matches!(seen.leader, crate::leader::Leader::Leads { .. }) {
        text.push(seen.leader.line(seen.now));
    }
    if clusters.is_empty() {
        text.push(status::nothing(seen));
    } else {
        let lines: Vec<_> = clusters.iter().flat_map(|it| branches(seen, it)).collect();
        let headings = ["OBJECT", "ROLE", "STATE", "MACHINE", "ZONE", "POD", "USED"];
        text.push(table(&headings, &drawn(lines)));
    }
    text.extend(seen.unreadable.iter().cloned());
    text.join("\n")
}

/// Draws the branches before the first cells.
fn drawn(lines: Vec<Line>) -> Vec<Vec<String>> {
    let depths: Vec<_> = lines.iter().map(|line| line.depth).collect();
    // Whether a line at `depth` follows before the tree goes back below it.
    let goes_on = |at: usize, depth: usize| {
        depths[at + 1..].iter().take_while(|next| **next >= depth).any(|next| *next == depth)
    };
    let draw = |(at, mut line): (usize, Line)| {
        let stems = (1..line.depth).map(|depth| if goes_on(at, depth) { "│  " } else { "   " });
        let branch = match line.depth {
            0 => "",
            depth if goes_on(at, depth) => "├─ ",
            _ => "└─ ",
        };
        let drawn: String = stems.chain([branch]).collect();
        line.cells[0].insert_str(0, &drawn);
        line.cells
    };
    lines.into_iter().enumerate().map(draw).collect()
}

fn branches(seen: &Seen, cluster: &DefsCluster) -> Vec<Line> {
    let phase = cluster.status.as_ref().and_then(|status| status.phase);
    let name = match &seen.scope {
        Scope::All => format!("{}/{}", cluster.namespace().unwrap_or_default(), cluster.name_any()),
        Scope::In(_) => cluster.name_any(),
    };
    let mut lines = vec![named(0, name, phase.map(|phase| format!("{phase:?}")))];
    for pair in seen.pairs_of(cluster) {
        lines.push(named(1, pair.name_any(), Some(pair_state(pair))));
        lines.extend(members(pair).iter().map(|name| member(seen, pair, name)));
    }
    for (title, nodes) in unpaired(seen, cluster) {
        if !nodes.is_empty() {
            lines.push(named(1, title.to_owned(), None));
            lines.extend(nodes.into_iter().map(|node| of_node(node, String::new())));
        }
    }
    lines
}

fn named(depth: usize, name: String, state: Option<String>) -> Line {
    Line { depth, cells: vec![name, String::new(), state.unwrap_or_default()] }
}

/// How a pair is, and what changes in it.
fn pair_state(pair: &DefsPair) -> String {
    let phase = pair::phase(pair);
    let migration = pair.status.as_ref().and_then(|status| status.migration.as_ref());
    match migration.filter(|it| migration::is_under_way(it)) {
        Some(it) => format!("{phase} ({} → {})", it.from, it.to),
        None => phase,
    }
}

fn member(seen: &Seen, pair: &DefsPair, name: &str) -> Line {
    match seen.node(pair.namespace().as_deref(), name) {
        Some(node) => of_node(node, role(pair, name)),
        None => Line {
            depth: 2,
            cells: vec![name.to_owned(), role(pair, name), "no such DefsNode".to_owned()],
        },
    }
}

/// The place of a node in its pair, as people call it.
pub(super) fn role(pair: &DefsPair, name: &str) -> String {
    let status = pair.status.clone().unwrap_or_default();
    let is = |place: &Option<String>| place.as_deref() == Some(name);
    let comes = status.migration.as_ref().is_some_and(|it| it.to == name);
    match (is(&status.primary), is(&status.mirror), comes) {
        (true, _, _) => word(Role::Primary),
        (_, true, _) => word(Role::Mirror),
        (_, _, true) => "comes",
        _ => "member",
    }
    .to_owned()
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Mirror => "mirror",
    }
}

fn of_node(node: &DefsNode, role: String) -> Line {
    let status = node.status.clone().unwrap_or_default();
    let domain = status.domain.unwrap_or_default();
    let unknown = || UNKNOWN.to_owned();
    let cells = vec![
        node.name_any(),
        role,
        status.state.map_or_else(unknown, |state| format!("{state:?}")),
        status.node_name.unwrap_or_else(unknown),
        domain.zone.unwrap_or_else(unknown),
        status.pod_name.unwrap_or_else(unknown),
        percent(status.used_percent),
    ];
    Line { depth: 2, cells }
}

/// Nodes in no pair: spares, and those that are neither.
fn unpaired<'a>(seen: &'a Seen, cluster: &DefsCluster) -> [(&'static str, Vec<&'a DefsNode>); 2] {
    let nodes = seen.nodes_of(cluster).into_iter().filter(|it| seen.pair_with(it).is_none());
    let is_spare = |it: &&DefsNode| {
        it.status.as_ref().and_then(|status| status.state) == Some(NodeState::Spare)
    };
    let (spares, others) = nodes.partition(is_spare);
    [("spares", spares), ("in no pair", others)]
}

fn json(seen: &Seen, clusters: &[&DefsCluster]) -> Value {
    let node = |node: &DefsNode, role: Option<String>| {
        let status = node.status.clone().unwrap_or_default();
        json!({
            "name": node.name_any(), "role": role, "state": status.state,
            "machine": status.node_name, "domain": status.domain, "pod": status.pod_name,
            "usedPercent": status.used_percent, "peerId": status.peer_id,
        })
    };
    let pair = |pair: &&DefsPair| {
        let status = pair.status.clone().unwrap_or_default();
        let members: Vec<_> = members(pair)
            .iter()
            .map(|name| match seen.node(pair.namespace().as_deref(), name) {
                Some(it) => node(it, Some(role(pair, name))),
                None => json!({ "name": name, "role": role(pair, name), "missing": true }),
            })
            .collect();
        json!({
            "name": pair.name_any(), "phase": status.phase, "epoch": status.epoch,
            "members": members,
            "migration": status.migration.as_ref().map(|it| migration::json(it, seen.now)),
        })
    };
    let cluster = |cluster: &&DefsCluster| {
        let [spares, others] = unpaired(seen, cluster)
            .map(|(_, nodes)| nodes.into_iter().map(|it| node(it, None)).collect::<Vec<_>>());
        json!({
            "namespace": cluster.namespace(), "name": cluster.name_any(),
            "phase": cluster.status.as_ref().and_then(|status| status.phase),
            "pairs": seen.pairs_of(cluster).iter().map(pair).collect::<Vec<_>>(),
            "spares": spares, "unpaired": others,
        })
    };
    let clusters: Vec<_> = clusters.iter().map(cluster).collect();
    json!({
        "operator": seen.leader.json(), "clusters": clusters, "unreadable": seen.unreadable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn tree(seen: &Seen) -> String {
        text(seen, &seen.clusters_named(None).unwrap())
    }

    #[test]
    fn a_tree_shows_pairs_members_and_spares() {
        assert_eq!(
            tree(&example::healthy()),
            "\
OBJECT          ROLE     STATE    MACHINE    ZONE  POD     USED
demo                     Ready
├─ demo-pair-0           Healthy
│  ├─ demo-0    primary  Serving  machine-0  a     demo-0  4 %
│  └─ demo-1    mirror   Serving  machine-1  a     demo-1  4 %
├─ demo-pair-1           Healthy
│  ├─ demo-2    primary  Serving  machine-2  a     demo-2  4 %
│  └─ demo-3    mirror   Serving  machine-3  a     demo-3  4 %
└─ spares
   └─ demo-4             Spare    machine-4  a     demo-4  4 %"
        );
    }

    #[test]
    fn who_comes_stands_in_the_pair_and_no_longer_among_the_spares() {
        let told = tree(&example::replacing(&json!({})));
        let last: Vec<_> = told.lines().skip(5).collect();
        assert_eq!(
            last,
            [
                "└─ demo-pair-1           Migrating (demo-3 → demo-4)",
                "   ├─ demo-2    primary  Serving                      machine-2  a     demo-2  4 %",
                "   ├─ demo-3    mirror   Down                         machine-3  a     demo-3  4 %",
                "   └─ demo-4    comes    Spare                        machine-4  a     demo-4  4 %",
            ]
        );
    }

    #[test]
    fn a_member_without_an_object_and_a_node_without_a_pair_are_shown_as_such() {
        let mut seen = example::healthy();
        seen.nodes.remove(3);
        seen.nodes[3] = example::node(4, &json!({}), &json!({ "state": "Joining" }));
        let told = tree(&seen);
        assert!(told.contains("demo-3    mirror   no such DefsNode"), "{told}");
        assert!(told.contains("└─ in no pair\n   └─ demo-4 "), "{told}");
    }

    #[test]
    fn programs_get_the_same() {
        let seen = example::replacing(&json!({}));
        let json = json(&seen, &seen.clusters_named(None).unwrap());
        let pair = &json["clusters"][0]["pairs"][1];
        let roles: Vec<_> =
            pair["members"].as_array().unwrap().iter().map(|it| &it["role"]).collect();
        assert_eq!(roles, ["primary", "mirror", "comes"]);
        assert_eq!(json["clusters"][0]["spares"], json!([]));
    }
}
