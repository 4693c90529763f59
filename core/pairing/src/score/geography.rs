//! How far each node stands from all others: by what labels say, and by round trip.

use std::collections::BTreeMap;

use defs_core::ids::NodeId;
use defs_core::network::Labels;

use super::clusters::Cluster;
use super::measured::Geography;

/// For each of `places`, how many of the others stand elsewhere. A host's name counts within
/// its zone, a zone's within its region; who is in no cluster is far from nobody.
#[must_use]
pub fn standing(
    places: &[(NodeId, Labels)],
    clusters: &BTreeMap<NodeId, Cluster>,
) -> BTreeMap<NodeId, Geography> {
    let hosts = counts(places, |labels| [&labels.region, &labels.zone, &labels.host]);
    let zones = counts(places, |labels| [&labels.region, &labels.zone]);
    let regions = counts(places, |labels| [&labels.region]);
    let mut in_cluster: BTreeMap<Cluster, u32> = BTreeMap::new();
    for cluster in clusters.values() {
        *in_cluster.entry(*cluster).or_default() += 1;
    }
    let all = count(places.len());
    let clustered = count(clusters.len());
    let of = |(node, labels): &(NodeId, Labels)| {
        let Labels { host, zone, region } = labels;
        let without = |with: Option<&u32>| all.saturating_sub(with.copied().unwrap_or(all));
        let near = clusters.get(node).and_then(|cluster| in_cluster.get(cluster));
        let geography = Geography {
            others: all.saturating_sub(1),
            other_hosts: without(hosts.get(&[region, zone, host])),
            other_zones: without(zones.get(&[region, zone])),
            other_regions: without(regions.get(&[region])),
            other_clusters: clustered.saturating_sub(near.copied().unwrap_or(clustered)),
        };
        (*node, geography)
    };
    places.iter().map(of).collect()
}

fn counts<'a, const N: usize>(
    places: &'a [(NodeId, Labels)],
    name: impl Fn(&'a Labels) -> [&'a String; N],
) -> BTreeMap<[&'a String; N], u32> {
    let mut counts = BTreeMap::new();
    for (_, labels) in places {
        *counts.entry(name(labels)).or_default() += 1;
    }
    counts
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(node: u8, [region, zone, host]: [&str; 3]) -> (NodeId, Labels) {
        let labels = Labels { region: region.into(), zone: zone.into(), host: host.into() };
        (NodeId([node; 32]), labels)
    }

    #[test]
    fn a_name_counts_within_what_it_stands_in() {
        let places = [
            place(1, ["r", "z", "h"]),
            place(2, ["r", "z", "h"]),
            place(3, ["r", "z", "i"]),
            place(4, ["r", "y", "h"]),
            place(5, ["s", "z", "h"]),
        ];
        let clusters = (1..=4).map(|node| (NodeId([node; 32]), Cluster(u32::from(node / 3))));
        let clusters = clusters.collect();
        let standing = standing(&places, &clusters);
        let of = |node: u8| {
            let Geography { others, other_hosts, other_zones, other_regions, other_clusters } =
                standing[&NodeId([node; 32])];
            [others, other_hosts, other_zones, other_regions, other_clusters]
        };
        assert_eq!(of(1), [4, 3, 2, 1, 2]);
        assert_eq!(of(4), [4, 4, 4, 1, 2]);
        assert_eq!(of(5), [4, 4, 4, 4, 0], "nobody measured it");
    }
}
