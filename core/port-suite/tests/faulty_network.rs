//! The network with faults, in still weather and in a breeze, keeps the laws of peers.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use defs_core::body::Body;
use defs_core::ids::NodeId;
use defs_core::port::{CallError, Peers};
use defs_port_suite::peers::{Echo, Net, send_back};
use defs_port_suite::{Calm, FaultyNetwork, FaultyPeers, Host, Weather, peers_laws};
use tokio::time::Instant;

struct Faulty {
    network: FaultyNetwork,
    joined: AtomicU8,
    hosts: Mutex<BTreeMap<NodeId, Arc<Host>>>,
}

impl Net for Faulty {
    type Peers = FaultyPeers;

    async fn join(&self, service: Arc<Echo>) -> FaultyPeers {
        let node = NodeId([100 + self.joined.fetch_add(1, Ordering::Relaxed); 32]);
        let host = Host::on(Instant::now(), 0);
        self.network.serve(node, &host, service);
        self.hosts.lock().unwrap().insert(node, Arc::clone(&host));
        self.network.peers(node, host)
    }

    async fn leave(&self, peer: NodeId) {
        self.hosts.lock().unwrap()[&peer].switch_off();
    }
}

fn in_weather(weather: Weather) -> Faulty {
    let network = FaultyNetwork::new(Arc::new(Calm));
    network.set_weather(weather);
    Faulty { network, joined: AtomicU8::new(0), hosts: Mutex::default() }
}

fn still() -> Faulty {
    in_weather(Weather::STILL)
}

fn breeze() -> Faulty {
    let (delay_min, delay_max) = (Duration::from_millis(1), Duration::from_millis(5));
    in_weather(Weather { delay_min, delay_max, ..Weather::STILL })
}

mod in_still_weather {
    use super::*;
    peers_laws!(still);
}

mod in_a_breeze {
    use super::*;
    peers_laws!(breeze);
}

const PATIENCE: Duration = Duration::from_secs(3);

async fn two(net: &Faulty, weather: Weather) -> (FaultyPeers, NodeId, Arc<Echo>) {
    let service = Arc::new(Echo::default());
    let asked = net.join(Arc::clone(&service)).await;
    let asking = net.join(Arc::default()).await;
    net.network.set_weather(Weather { patience: PATIENCE, ..weather });
    (asking, asked.me(), service)
}

async fn send(from: &FaultyPeers, to: NodeId) -> Result<Vec<u8>, CallError> {
    let reply = from.call(to, send_back(), Body::whole(vec![7; 300_000].into())).await?;
    Ok(reply.body.collect().await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_doubled_request_is_served_twice_and_answered_once() {
    let net = still();
    let (asking, asked, service) = two(&net, Weather { doubled: 1000, ..Weather::STILL }).await;
    assert_eq!(send(&asking, asked).await, Ok(vec![7; 300_000]));
    tokio::time::sleep(PATIENCE).await;
    assert_eq!((service.callers().len(), service.broken().len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cut_loses_requests_one_way_and_answers_the_other_and_the_caller_waits_in_vain() {
    let net = still();
    let (asking, asked, service) = two(&net, Weather::STILL).await;
    for (cut, served) in [((asking.me(), asked), 0), ((asked, asking.me()), 1)] {
        net.network.cut(cut.0, cut.1);
        let began = Instant::now();
        assert_eq!(send(&asking, asked).await, Err(CallError::TimedOut { to: asked }));
        assert_eq!((began.elapsed(), service.callers().len()), (PATIENCE, served));
        net.network.heal(cut.0, cut.1);
    }
    assert_eq!(send(&asking, asked).await, Ok(vec![7; 300_000]));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_machine_that_is_switched_off_learns_it_and_a_dead_one_learns_nothing()
{
    let net = still();
    let slow = Weather { delay_min: Duration::from_secs(1), ..Weather::STILL };
    let (asking, asked, _) = two(&net, slow).await;
    let hosts = [asked, asking.me()].map(|node| Arc::clone(&net.hosts.lock().unwrap()[&node]));
    let (answer, ()) = tokio::join!(send(&asking, asked), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        hosts[0].switch_off();
    });
    assert!(matches!(answer, Err(CallError::Unreachable { .. })), "{answer:?}");
    hosts[1].switch_off();
    let answer = tokio::time::timeout(Duration::from_hours(1), send(&asking, asked)).await;
    assert!(answer.is_err());
}
