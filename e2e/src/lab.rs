//! Machines that are network namespaces of this one, on switches that can be cut apart, and
//! routers that hide what is behind them. All of it ends with the value, whatever runs in it.

mod disk;
mod network;
mod shell;

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, getuid, kill_process};

pub use self::disk::SmallDisk;
pub use self::network::{Network, Node, Start};
pub(crate) use self::shell::within;

use self::shell::{run, skipped, told_by};
use crate::User;

/// The first three numbers of every machine's address. The internet would route them, so that
/// AutoNAT judges nodes by them.
const NET: &str = "45.0.0";

/// Where nodes listen.
const PORT: u16 = 4001;

/// Laboratories of this process.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Two switches that nothing joins, and machines at one of them each.
#[derive(Debug)]
pub struct Lab {
    name: String,
    machines: Vec<Machine>,
}

/// A machine of a laboratory, by the last number of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine(pub u8);

/// One of the two switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where every machine is at first.
    Near,
    /// Where those are that are cut off.
    Far,
}

impl Side {
    fn switch(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
        }
    }
}

/// What a router lets through to the machine behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Router {
    /// Answers, and whatever comes from where something was sent: from one port of the
    /// machine always through the same port of the router.
    PortRestricted,
    /// The same, but through another port for every peer.
    Symmetric,
    /// Nothing but connections to this one machine.
    OnlyTo(Machine),
}

impl Machine {
    /// Where others reach it, unless a router hides it.
    #[must_use]
    pub fn address(self) -> String {
        format!("{NET}.{}", self.0)
    }

    /// Where its node is dialled.
    #[must_use]
    pub fn dialled_at(self) -> String {
        format!("/ip4/{}/tcp/{PORT}", self.address())
    }

    /// Its own address behind its router.
    fn hidden_address(self) -> String {
        format!("192.168.{}.2", self.0)
    }
}

impl Lab {
    /// Two switches without machines. `None`, and words about it, where this system gives no
    /// namespaces.
    pub fn new() -> Result<Option<Self>> {
        if let Err(error) = can_be_made() {
            let needs = "this test needs root, ip (iproute2) and nft (nftables)";
            return skipped(&error.context(needs)).map(|()| None);
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let lab =
            Self { name: format!("defs{}x{number}", std::process::id()), machines: Vec::new() };
        run(&format!("ip netns add {}", lab.switches()))?;
        for side in [Side::Near, Side::Far] {
            let (switches, switch) = (lab.switches(), side.switch());
            run(&format!("ip -n {switches} link add {switch} type bridge"))?;
            run(&format!("ip -n {switches} link set {switch} up"))?;
        }
        Ok(Some(lab))
    }

    fn switches(&self) -> String {
        format!("{}-switches", self.name)
    }

    /// The namespace of a machine.
    #[must_use]
    pub fn namespace(&self, machine: Machine) -> String {
        format!("{}-{}", self.name, machine.0)
    }

    fn router_of(&self, machine: Machine) -> String {
        format!("{}-{}r", self.name, machine.0)
    }

    /// A machine that everybody on its switch reaches.
    pub fn machine(&mut self, number: u8) -> Result<Machine> {
        let machine = Machine(number);
        self.machines.push(machine);
        let namespace = self.namespace(machine);
        run(&format!("ip netns add {namespace}"))?;
        run(&format!("ip -n {namespace} link set lo up"))?;
        self.plug(machine, &namespace)?;
        Ok(machine)
    }

    /// A machine that nobody reaches unless it has begun, behind a router of its own.
    pub fn hidden(&mut self, number: u8, router: Router) -> Result<Machine> {
        let machine = Machine(number);
        self.machines.push(machine);
        let (inside, outside) = (self.namespace(machine), self.router_of(machine));
        for namespace in [&inside, &outside] {
            run(&format!("ip netns add {namespace}"))?;
            run(&format!("ip -n {namespace} link set lo up"))?;
        }
        self.plug(machine, &outside)?;
        run(&format!("ip -n {outside} link add home type veth peer name eth0 netns {inside}"))?;
        run(&format!("ip -n {outside} address add 192.168.{number}.1/24 dev home"))?;
        run(&format!("ip -n {outside} link set home up"))?;
        run(&format!("ip -n {inside} address add {}/24 dev eth0", machine.hidden_address()))?;
        run(&format!("ip -n {inside} link set eth0 up"))?;
        run(&format!("ip -n {inside} route add default via 192.168.{number}.1"))?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        told_by(&["ip", "netns", "exec", &outside, "sh", "-c", forward])?;
        for rule in rules(router) {
            run(&format!("ip netns exec {outside} nft {rule}"))?;
        }
        Ok(machine)
    }

    /// Joins a namespace to the near switch.
    fn plug(&self, machine: Machine, namespace: &str) -> Result<()> {
        let (switches, number) = (self.switches(), machine.0);
        run(&format!(
            "ip -n {switches} link add port{number} type veth peer name eth0 netns {namespace}"
        ))?;
        run(&format!("ip -n {switches} link set port{number} master near up"))?;
        run(&format!("ip -n {namespace} address add {}/24 dev eth0", machine.address()))?;
        run(&format!("ip -n {namespace} link set eth0 up"))
    }

    /// Moves machines to one switch: those at the other hear nothing of them from now on.
    pub fn move_to(&self, side: Side, machines: &[Machine]) -> Result<()> {
        for Machine(number) in machines {
            let (switches, switch) = (self.switches(), side.switch());
            run(&format!("ip -n {switches} link set port{number} master {switch}"))?;
        }
        Ok(())
    }

    /// A user who stands at `machine` and knows `peers`.
    pub fn user(&self, machine: Machine, peers: &[Machine]) -> Result<User> {
        let mut user = User::new()?;
        user.stand_in(&self.namespace(machine));
        user.set("DEFS_BOOTSTRAP_PEERS", &dialled_at(peers));
        Ok(user)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Routers last: what runs behind them has ended by then.
        let namespaces = self.machines.iter().map(|machine| self.namespace(*machine));
        let routers = self.machines.iter().map(|machine| self.router_of(*machine));
        for namespace in namespaces.chain(routers).chain([self.switches()]) {
            end_all_in(&namespace);
            // Machines that nothing hides have no router.
            drop(run(&format!("ip netns delete {namespace}")));
        }
    }
}

/// Whether this process may make namespaces and has the programs for it.
fn can_be_made() -> Result<()> {
    run("ip netns")?;
    run("nft --version")?;
    if !getuid().is_root() {
        bail!("this user is not root");
    }
    // What the kernel refuses is known only when it was tried.
    let probe = format!("defs{}probe", std::process::id());
    let tried = run(&format!("ip netns add {probe}"))
        .and_then(|()| run(&format!("ip -n {probe} link add near type bridge")))
        .and_then(|()| run(&format!("ip netns exec {probe} nft add table ip nat")));
    drop(run(&format!("ip netns del {probe}")));
    tried
}

/// Ends what still runs in a namespace of this laboratory.
fn end_all_in(namespace: &str) {
    let Ok(told) = told_by(&["ip", "netns", "pids", namespace]) else { return };
    for pid in told.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)) {
        // It may have ended meanwhile.
        let _ended = kill_process(pid, Signal::KILL);
    }
}

/// The rules of a router in nft's words.
fn rules(router: Router) -> Vec<String> {
    let masquerade = |how: &str| {
        vec![
            "add table ip nat".to_owned(),
            "add chain ip nat out { type nat hook postrouting priority 100 ; }".to_owned(),
            format!("add rule ip nat out oifname eth0 masquerade {how}"),
            "add table ip wall".to_owned(),
            "add chain ip wall through { type filter hook forward priority 0 ; }".to_owned(),
            "add rule ip wall through ct state established,related accept".to_owned(),
            "add chain ip wall own { type filter hook input priority 0 ; }".to_owned(),
            "add rule ip wall own iifname eth0 ct state new,invalid drop".to_owned(),
        ]
    };
    let only_from_home = "add rule ip wall through iifname != home drop".to_owned();
    let mut rules = match router {
        Router::PortRestricted | Router::OnlyTo(_) => masquerade(""),
        Router::Symmetric => masquerade("fully-random"),
    };
    rules.push(only_from_home);
    if let Router::OnlyTo(machine) = router {
        rules.push(format!("add rule ip wall through ip daddr != {} drop", machine.address()));
    }
    rules
}

fn dialled_at(machines: &[Machine]) -> String {
    machines.iter().map(|machine| machine.dialled_at()).collect::<Vec<_>>().join(",")
}
