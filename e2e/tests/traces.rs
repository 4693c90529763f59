//! One trace over several processes, from what was asked for to the disk, as a receiver of
//! OTLP is told; and that a receiver who is away costs nothing.
#![cfg(test)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use defs_core::format::Format as _;
use defs_core::ids::{NodeId, PairId, hex};
use defs_core::network::Genesis;
use defs_core::statement::Statement as _;
use defs_core::wish::{Forming, SignedWish, Want, Wish};
use defs_e2e::node::{Node, Options};
use defs_e2e::otlp::{Receiver, Span};
use defs_e2e::{User, eventually, free_port, noise};
use defs_identity::SecretKey;
use defs_wire::admin as pb;
use defs_wire::admin::admin_client::AdminClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

const SOON: Duration = Duration::from_secs(30);

/// The name of a file that nobody but its owner may learn.
const NAME: &str = "a-name-that-is-nobodys-business";

/// A receiver is told soon, over gRPC.
fn exported(receiver: &Receiver) -> [(&'static str, String); 3] {
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "500".to_owned()),
    ]
}

/// A user with four nodes, all of whom tell `receiver`.
fn traced_user(receiver: &Receiver) -> User {
    let mut user = User::new().unwrap();
    for (name, value) in exported(receiver) {
        user.set(name, &value);
    }
    user.up(4).unwrap();
    user
}

/// All spans of the trace that begins with `name`.
fn trace_of(receiver: &Receiver, name: &str) -> Vec<Span> {
    let mut spans = receiver.spans();
    let first = spans.iter().find(|span| span.name == name && span.parent.is_empty());
    let Some(trace) = first.map(|span| span.trace.clone()) else { return Vec::new() };
    spans.retain(|span| span.trace == trace);
    spans
}

/// The names from `span` up to where its trace begins, with what is asked for.
fn way_up(spans: &[Span], span: &Span) -> Vec<String> {
    let by_id: BTreeMap<_, _> = spans.iter().map(|span| (&span.id, span)).collect();
    let up = std::iter::successors(Some(span), |span| by_id.get(&span.parent).copied());
    up.map(|span| match span.attributes.get("defs.ask") {
        Some(ask) => format!("{} {ask}", span.name),
        None => span.name.clone(),
    })
    .collect()
}

/// The ways up from all spans called `name`.
fn ways_up(spans: &[Span], name: &str) -> Vec<Vec<String>> {
    spans.iter().filter(|span| span.name == name).map(|span| way_up(spans, span)).collect()
}

#[test]
fn one_trace_runs_from_a_put_through_the_primary_to_the_mirrors_disk() {
    const TO_THE_MIRROR: [&str; 11] = [
        "defs.disk.sync",
        "defs.disk.store",
        "defs.shard.mirror",
        "defs.peer.serve mirror_shard",
        "defs.peer.call mirror_shard",
        "defs.shard.forward",
        "defs.shard.receive",
        "defs.peer.serve store_shard",
        "defs.peer.call store_shard",
        "defs.shard.send",
        "defs.put",
    ];
    let receiver = Receiver::start().unwrap();
    let user = traced_user(&receiver);
    let bytes = noise(5, 3 << 20);
    user.put_bytes(NAME, &bytes, &[]).unwrap();
    let arrived = || ways_up(&trace_of(&receiver, "defs.put"), "defs.disk.sync");
    eventually("the mirror's disk is in the trace of the put", SOON, || {
        arrived().iter().any(|way| *way == TO_THE_MIRROR)
    })
    .unwrap_or_else(|error| panic!("{error}\n{:#?}", arrived()));
    // The same to the primary's own disk, and what the owner does before.
    let spans = trace_of(&receiver, "defs.put");
    assert!(arrived().iter().any(|way| way[2] == "defs.shard.receive"), "{:#?}", arrived());
    for stage in ["slice.cut", "slice.seal", "slice.code", "manifest.write", "object.name"] {
        let name = format!("defs.{stage}");
        let mut ways = ways_up(&spans, &name);
        // The end of the file is looked for in a slice of its own.
        ways.dedup();
        assert_eq!(ways, [[name.as_str(), "defs.put"]]);
    }
    assert!(ways_up(&spans, "defs.receipt.sign").len() >= 2);
    // In three processes: the owner's, the primary's, the mirror's.
    let of = |name: &str| {
        let found = spans.iter().find(|span| span.name == name).unwrap();
        (found.service.as_str(), found.instance.as_str())
    };
    let owner = of("defs.put");
    let (primary, mirror) = (of("defs.shard.receive"), of("defs.shard.mirror"));
    assert_eq!((owner.0, primary.0, mirror.0), ("defs", "defs-node", "defs-node"));
    assert!(owner.1 != primary.1 && primary.1 != mirror.1);
    assert!(spans.iter().all(|span| !span.failed), "{spans:#?}");
    // Names of files are no part of what is told.
    let told = format!("{:?}", receiver.spans());
    assert!(!told.contains(NAME) && !told.contains("to-put"), "{told}");

    assert_eq!(user.get_bytes(NAME).unwrap(), bytes);
    let read = || ways_up(&trace_of(&receiver, "defs.get"), "defs.peer.serve");
    eventually("a node's answer is in the trace of the get", SOON, || {
        read().iter().any(|way| {
            let [served, called, fetched, slice, get] = &way[..] else { return false };
            [served.as_str(), called] == ["defs.peer.serve read_shard", "defs.peer.call read_shard"]
                && [fetched.as_str(), slice, get]
                    == ["defs.shard.fetch", "defs.slice.fetch", "defs.get"]
        })
    })
    .unwrap_or_else(|error| panic!("{error}\n{:#?}", read()));

    let nodes = ["defs.shard.stored", "defs.store.fsync", "defs.peer.connections"];
    let told = || {
        let of_nodes = receiver.metrics_of("defs-node");
        nodes.iter().all(|name| of_nodes.contains(*name))
    };
    eventually("the nodes' metrics are told", SOON, told).unwrap();
    assert!(receiver.metrics_of("defs").contains("defs.client.put"));
}

/// A client of the admin API of a node on this machine.
async fn admin(folder: &Path) -> AdminClient<Channel> {
    let socket = folder.join("admin.sock");
    let connector = service_fn(move |_| {
        let socket = socket.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    let endpoint = Endpoint::from_static("http://admin.invalid");
    AdminClient::new(endpoint.connect_with_connector(connector).await.unwrap())
}

async fn id_of(node: &Node) -> NodeId {
    let status = admin(node.folder()).await.status(pb::StatusRequest {}).await.unwrap();
    status.into_inner().node_id.parse().unwrap()
}

/// A word of the invite key of the network that `founder` founded.
fn signed(founder: &Node, wish: Wish) -> SignedWish {
    let read = |name: &str| std::fs::read_to_string(founder.folder().join(name)).unwrap();
    let genesis = Genesis::from_text(&read("network")).unwrap();
    let invite = defs_core::ids::unhex(read("invite").trim()).unwrap();
    let invite = SecretKey::from_bytes(&invite).unwrap();
    SignedWish { wish, signature: invite.sign(&wish.statement(&genesis.network())).0 }
}

/// As an operator would: a word under the invite key to a node which is not its subject, in a
/// trace of the operator's.
#[tokio::test(flavor = "multi_thread")]
async fn one_trace_runs_from_an_operators_wish_over_the_node_that_hears_it_to_the_pairs_disks() {
    let receiver = Receiver::start().unwrap();
    let home = tempfile::tempdir().unwrap();
    let exported = exported(&receiver);
    let environment: Vec<_> =
        exported.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let flags = ["--pairing", "assigned", "--suspect-after", "3s", "--fail-after", "4s"];
    let options = Options { flags: &flags, environment: &environment };
    let folder = |name: &str| home.path().join(name);
    let hears = Node::start(&folder("hears"), None, options).unwrap();
    let primary = Node::start(&folder("primary"), Some(&hears), options).unwrap();
    let mirror = Node::start(&folder("mirror"), Some(&hears), options).unwrap();
    let all = [&hears, &primary, &mirror];
    let meet = || all.iter().all(|node| node.metric("defs_node_alive").is_ok_and(|it| it == 3));
    eventually("the nodes know each other", SOON, meet).unwrap();

    let (trace, parent) = ([0x5a; 16], [0x5b; 8]);
    let forming = Forming { pair: PairId([9; 16]), mirror: id_of(&mirror).await };
    let wish = Wish { node: id_of(&primary).await, want: Want::Form(forming), sequence: 1 };
    let wish = signed(&hears, wish).encode();
    let mut request = tonic::Request::new(pb::TakeWishRequest { wish });
    let traceparent = format!("00-{}-{}-01", hex(&trace), hex(&parent));
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    admin(hears.folder()).await.take_wish(request).await.unwrap();

    let is_in_pair = |node: &&Node| {
        node.metric(r#"defs_pair_members{state="healthy"}"#).is_ok_and(|pairs| pairs == 1)
    };
    eventually("the pair is formed", SOON, || [&primary, &mirror].iter().all(is_in_pair)).unwrap();
    let in_trace = || {
        let mut spans = receiver.spans();
        spans.retain(|span| span.trace == trace);
        spans
    };
    // The word is taken, the pair is promised on both disks, and entered by both.
    let heard = ["defs.wish.take", "defs.admin.serve"];
    let promised = ["defs.disk.index", "defs.pair.form", "defs.wish.take", "defs.admin.serve"];
    let agreed = [
        "defs.disk.index",
        "defs.peer.serve propose",
        "defs.peer.call propose",
        "defs.pair.form",
        "defs.wish.take",
        "defs.admin.serve",
    ];
    let ways = || {
        let spans = in_trace();
        [ways_up(&spans, "defs.wish.take"), ways_up(&spans, "defs.disk.index")]
    };
    eventually("the operator's trace goes on to the disks", SOON, || {
        let [taken, written] = ways();
        taken.iter().any(|way| *way == heard)
            && written.iter().any(|way| *way == promised)
            && written.iter().any(|way| *way == agreed)
    })
    .unwrap_or_else(|error| panic!("{error}\n{:#?}", ways()));
    let first = in_trace().into_iter().find(|span| span.name == "defs.admin.serve").unwrap();
    assert_eq!((first.parent.as_slice(), first.kind), (&parent[..], 2));
}

#[test]
fn a_receiver_that_is_away_holds_nobody_up_and_is_told_of_once() {
    let nobody = format!("http://127.0.0.1:{}", free_port().unwrap());
    let home = tempfile::tempdir().unwrap();
    let environment =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", nobody.as_str()), ("OTEL_METRIC_EXPORT_INTERVAL", "100")];
    let options = Options { environment: &environment, ..Options::default() };
    let node = Node::start(&home.path().join("node"), None, options).unwrap();
    let has_failed = |times| node.metric("defs_export_failed_total").is_ok_and(|it| it >= times);
    eventually("twenty exports have failed", SOON, || has_failed(20)).unwrap();
    let log = node.folder().with_extension("log");
    node.stop().unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(log.matches("can't be exported now").count(), 1, "{log}");
    assert!(log.contains("stopped"), "{log}");

    let mut user = User::new().unwrap();
    user.set("OTEL_EXPORTER_OTLP_ENDPOINT", &nobody);
    user.up(4).unwrap();
    user.put_bytes("x", b"small", &[]).unwrap();
    assert_eq!(user.get_bytes("x").unwrap(), b"small");
}

#[test]
fn a_variable_that_makes_no_sense_is_told_by_name_and_the_node_serves() {
    let home = tempfile::tempdir().unwrap();
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:secret-4317")];
    let options = Options { environment: &environment, ..Options::default() };
    let node = Node::start(&home.path().join("node"), None, options).unwrap();
    let log = node.log().unwrap();
    assert!(log.contains("OTEL_EXPORTER_OTLP_ENDPOINT is not an http or https address"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
