//! A user who reaches one node of six, as through a port-forward, and the others by way of it.
#![cfg(test)]

use std::time::Duration;

use defs_e2e::lab::{Lab, Machine, Network, Router};
use defs_e2e::{User, noise};

/// Long enough for a busy machine; the conditions end the waits.
const WITHIN: Duration = Duration::from_secs(90);

/// The one that the user reaches.
const REACHED: Machine = Machine(1);

const NODES: u8 = 6;

/// Six nodes in three pairs, and a user behind a wall that lets through the way to one of them.
fn walled() -> Option<(Network, User)> {
    let lab = Lab::new().unwrap()?;
    let mut network = Network::new(lab, 100, &[REACHED]).unwrap();
    for number in 1..=NODES {
        let machine = network.lab.machine(number).unwrap();
        network.start(machine, &[REACHED], machine == REACHED).unwrap();
    }
    network.all_healthy(usize::from(NODES) / 2, WITHIN).unwrap();
    let behind = network.lab.hidden(101, Router::OnlyTo(REACHED)).unwrap();
    // The first one named is not to be had.
    let user = network.lab.user(behind, &[Machine(2), REACHED]).unwrap();
    Some((network, user))
}

#[test]
fn who_reaches_one_node_puts_gets_and_removes_by_way_of_it_while_another_dies() {
    let Some((mut network, user)) = walled() else { return };
    let mut files = user.put_of_each_kind(3_000_017).unwrap();
    user.gets_all(&files, "at first").unwrap();
    let got = user.run(&["--set", "logLevel=debug", "get", &files[0].0, "-o", "-"]).unwrap();
    let went = "a node that can't be dialled is reached by way of another";
    assert!(got.err.contains(went), "it went another way:\n{}", got.err);

    // One that has a part in what is stored now ends meanwhile: not the one that is reached,
    // and not its partner, so that two pairs stay whole.
    let pairs = network.pairs().unwrap();
    let [gone, _] = *pairs.values().find(|pair| !pair.contains(&REACHED)).unwrap();
    let (name, bytes) = ("large".to_owned(), noise(9, 40_000_003));
    std::thread::scope(|scope| {
        let putting = scope.spawn(|| user.put_bytes(&name, &bytes, &["--mode", "slice"]));
        network.nodes.get_mut(&gone).unwrap().kill().unwrap();
        putting.join().unwrap().unwrap();
    });
    files.push((name, bytes));
    user.gets_all(&files, "while a node is gone").unwrap();

    // Every holder is asked, whichever way it is reached.
    let status = user.events(&["stat", &files[0].0, "--ask"]).unwrap();
    assert!(!status.is_empty());
    let (removed, _) = files.pop().unwrap();
    user.run(&["rm", &removed]).unwrap().succeeded().unwrap();
    assert_ne!(user.run(&["get", &removed, "-o", "-"]).unwrap().code, Some(0));
    user.gets_all(&files, "after another was removed").unwrap();
}
