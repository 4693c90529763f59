//! Measures the pair planner: how long it takes, and how far its search is from the best.
//! `cargo run --release -p defs-pairing --example planner`
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a program for people that measures time"
)]

use std::time::{Duration, Instant};

use defs_core::ids::{NodeId, PairId};
use defs_core::network::{Labels, Reach};
use defs_pairing::planner::{
    Candidate, Effort, Match, Network, Paired, Policy, Rated, Total, arrange, measure,
};
use defs_pairing::score::Points;

/// A world: how many regions, zones in each, and whether round trips are known.
struct World {
    name: &'static str,
    regions: u64,
    zones: u64,
    is_measured: bool,
}

const WORLDS: &[World] = &[
    World { name: "3 regions", regions: 3, zones: 3, is_measured: false },
    World { name: "3 regions, round trips", regions: 3, zones: 3, is_measured: true },
    World { name: "1 region, 3 zones", regions: 1, zones: 3, is_measured: false },
    World { name: "2 regions", regions: 2, zones: 2, is_measured: false },
    World { name: "12 regions", regions: 12, zones: 3, is_measured: false },
];

/// Numbers that are the same in every run.
fn drawn(seed: u64, below: u64) -> u64 {
    let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 29)) % below
}

fn node(number: u64) -> NodeId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&drawn(number, u64::MAX).to_be_bytes());
    id[8..16].copy_from_slice(&number.to_be_bytes());
    NodeId(id)
}

fn nodes(world: &World, count: u64) -> Vec<Rated> {
    let points = |seed, least| Points::at_most_full(least + drawn(seed, 1001 - least));
    let rated = |number: u64| {
        let host = number / 2;
        let region = drawn(host * 7, world.regions);
        let labels = Labels {
            host: format!("h{host}"),
            zone: format!("z{}", drawn(host * 11, world.zones)),
            region: format!("r{region}"),
        };
        let capacity = (1 << 40) + drawn(number * 13, 7 << 40);
        Rated {
            bandwidth: points(number * 17, 300),
            stability: points(number * 19, 200),
            load: points(number * 23, 0),
            ..Rated::unknown(Candidate { node: node(number), labels, capacity, reach: Reach::Open })
        }
    };
    (0..count).map(rated).collect()
}

/// Distances on a square of 80 ms.
fn round_trip(a: &NodeId, b: &NodeId) -> Option<Duration> {
    let place = |node: &NodeId, turn: u64| {
        let number = u64::from_be_bytes(node.0[8..16].try_into().unwrap());
        drawn(number * 29 + turn, 80_000)
    };
    let apart = place(a, 0).abs_diff(place(b, 0)) + place(a, 1).abs_diff(place(b, 1));
    Some(Duration::from_micros(200 + apart))
}

/// Time on a processor: other programs on the machine change it little. Elsewhere than on
/// Linux, time on the clock.
fn busy(begin: Instant) -> Duration {
    let said = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = said.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.map_or_else(|| begin.elapsed(), Duration::from_nanos)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let before = busy(begin);
    let made = work();
    (made, busy(begin).saturating_sub(before))
}

fn cost(world: &World, count: u64, effort: Effort) -> (Total, Duration) {
    let took = |a: &NodeId, b: &NodeId| world.is_measured.then(|| round_trip(a, b)).flatten();
    let nodes = nodes(world, count);
    timed(|| measure(nodes, &Policy::default(), took, effort))
}

fn compare(world: &World) {
    println!("{}", world.name);
    for count in [50, 200, 500, 1000] {
        let (best, exact) = cost(world, count, Effort::Exact);
        let (found, search) = cost(world, count, Effort::Search);
        let permille = (found.soft.saturating_sub(best.soft)) * 10_000 / best.soft.max(1);
        let hard = |it: &Total| [it.same_host, it.same_zone, it.same_region];
        println!(
            "  {count:>5} nodes: exact {exact:>8.1?}, search {search:>8.1?}, dearer by {}.{:02} %, offences {:?} and {:?}",
            permille / 100,
            permille % 100,
            hard(&best),
            hard(&found),
        );
    }
    let (found, took) = cost(world, 10_000, Effort::Search);
    println!("  10000 nodes: search {took:.1?}, {found:?}");
}

fn whole(world: &World) {
    let took = |a: &NodeId, b: &NodeId| world.is_measured.then(|| round_trip(a, b)).flatten();
    let all = nodes(world, 10_000);
    let policy = Policy::default();
    let network = Network::new(all.clone(), Vec::new());
    let (plan, formed) = timed(|| arrange(&network, &policy, took, Duration::ZERO));
    let pairs = plan.formed.iter().enumerate().map(|(number, formed)| {
        let Match(a, b) = formed.pair;
        let mut pair = [0; 16];
        pair[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Paired { pair: PairId(pair), members: [a, b], held: 1 << 38, changed: None }
    });
    let network = Network::new(all, pairs.collect());
    let now = Duration::from_secs(86_400);
    let (again, kept) = timed(|| arrange(&network, &policy, took, now));
    println!(
        "{}: 10000 free nodes {formed:.1?}, then as {} pairs {kept:.1?}, {} exchanges, {} wait",
        world.name,
        plan.formed.len(),
        again.exchanges.len(),
        again.waiting.len(),
    );
}

fn main() {
    WORLDS.iter().for_each(compare);
    WORLDS.iter().for_each(whole);
}
