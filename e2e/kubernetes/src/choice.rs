//! Which machine a case breaks: one whose loss says what the case wants to show.

use std::collections::{BTreeMap, BTreeSet};

use crate::network::Pairing;

/// A machine to break, and whom that hits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// The machine.
    pub machine: String,
    /// The pairs that have a member there, and that member.
    pub hit: Vec<(Pairing, String)>,
}

/// The machine with the fewest members of pairs, and at least one, whose members can all be
/// replaced by `spares` that stand elsewhere, on none of the machines to `avoid`. `places` says
/// where each node runs.
pub(crate) fn victim(
    places: &BTreeMap<String, String>,
    pairings: &[Pairing],
    spares: &[String],
    avoid: &[String],
) -> Option<Victim> {
    let machines: BTreeSet<_> = places.values().filter(|it| !avoid.contains(it)).collect();
    let of = |machine: &String| {
        let is_there = |node: &&str| places.get(*node) == Some(machine);
        let hit = pairings.iter().filter_map(|pairing| {
            let member = pairing.members().into_iter().find(is_there)?;
            Some((pairing.clone(), member.to_owned()))
        });
        Victim { machine: machine.clone(), hit: hit.collect() }
    };
    let is_replaceable = |victim: &Victim| {
        let elsewhere: Vec<_> =
            spares.iter().filter(|it| places.get(*it) != Some(&victim.machine)).collect();
        let stands_apart = |(pairing, member): &(Pairing, String)| {
            let partner = places.get(pairing.partner_of(member));
            elsewhere.iter().filter(|it| places.get(**it) != partner).count() >= victim.hit.len()
        };
        !victim.hit.is_empty() && victim.hit.iter().all(stands_apart)
    };
    let victims = machines.into_iter().map(of).filter(is_replaceable);
    victims.min_by_key(|victim| victim.hit.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairing(name: &str, primary: &str, mirror: &str) -> Pairing {
        let [name, primary, mirror] = [name, primary, mirror].map(str::to_owned);
        Pairing { name, primary, mirror, epoch: 1 }
    }

    fn places(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(node, machine)| ((*node).to_owned(), (*machine).to_owned())).collect()
    }

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn the_machine_with_the_fewest_members_that_can_all_be_replaced_is_chosen() {
        let places =
            places(&[("a", "m1"), ("b", "m2"), ("c", "m1"), ("d", "m3"), ("s", "m3"), ("t", "m4")]);
        let pairings = [pairing("p", "a", "b"), pairing("q", "c", "d")];
        let spares = names(&["s", "t"]);
        let chosen = victim(&places, &pairings, &spares, &[]).unwrap();
        assert_eq!((chosen.machine.as_str(), chosen.hit.len()), ("m2", 1));
        let (pairing, member) = &chosen.hit[0];
        assert_eq!((pairing.name.as_str(), member.as_str()), ("p", "b"));
        // m3 takes its spare with it, and the other one is enough for its one member.
        let chosen = victim(&places, &pairings, &spares, &names(&["m2"])).unwrap();
        assert_eq!((chosen.machine.as_str(), chosen.hit.len()), ("m3", 1));
    }

    #[test]
    fn a_machine_whose_members_nobody_can_replace_is_left_alone() {
        let places = places(&[("a", "m1"), ("b", "m2"), ("s", "m2")]);
        let pairings = [pairing("p", "a", "b")];
        // The spare stands where the partner does.
        let chosen = victim(&places, &pairings, &names(&["s"]), &names(&["m2"]));
        assert_eq!(chosen, None);
        assert_eq!(victim(&places, &pairings, &[], &[]), None);
    }
}
