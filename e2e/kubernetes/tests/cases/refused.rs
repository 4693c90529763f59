//! Objects that the API server refuses, and what it says to whoever wrote them: the rules in the
//! schemas and the chart's admission policies, as they are installed.

use anyhow::{Context as _, Result, ensure};
use defs_crds::{DefsCluster, DefsNode, DefsPair};
use defs_e2e_kubernetes::{Namespace, Network, merged, seconds, with_namespace};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use serde_json::{Value, json};

/// What the API server says of `object`; none if it takes it. Nothing is written.
async fn refusal<K>(ns: &Namespace, name: &str, object: Value) -> Result<Option<String>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let head = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name},
    });
    let params = PatchParams {
        dry_run: true,
        force: true,
        field_manager: Some("e2e".to_owned()),
        field_validation: Some(ValidationDirective::Strict),
    };
    let patch = Patch::Apply(merged(head, object));
    said(ns.written::<K>().patch(name, &params, &patch).await)
}

fn said<T>(answer: kube::Result<T>) -> Result<Option<String>> {
    match answer {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.message)),
        Err(error) => Err(error.into()),
    }
}

/// Specs that are refused, and the words of the refusal.
fn clusters() -> Vec<(&'static str, Value)> {
    let sizes = |least: &str, shard: &str, most: &str| json!({"erasure": {"minSliceSize": least, "shardSize": shard, "maxSliceSize": most}});
    let coded = json!({"erasure": {"mode": "RsSize", "dataShards": 10, "parityShards": 4}});
    vec![
        ("say either image or version, and not both", json!({"version": "1.0.0"})),
        ("say either image or version, and not both", json!({"image": null})),
        ("minSpares must leave at least two", json!({"minSpares": 5, "profile": "Dev"})),
        ("there must be more pairs than durability.tolerate.pairs", json!({"replicas": 3})),
        ("parityShards must make up for every pair", coded),
        (
            "durability.tolerate.zones needs a zone key",
            json!({"durability": {"tolerate": {"zones": 1}}, "topology": {"domainKeys": ["a/b"]}}),
        ),
        (
            "topology.hard Zone needs a zone key",
            json!({"topology": {"hard": "Zone", "domainKeys": ["a/b"]}}),
        ),
        ("topology.hard Region needs a region key", json!({"topology": {"hard": "Region"}})),
        ("CertManager needs issuerRef", json!({"security": {"tls": {"mode": "CertManager"}}})),
        ("Provided needs secretName", json!({"security": {"tls": {"mode": "Provided"}}})),
        ("8080 is the port of health and metrics", json!({"node": {"port": 8080}})),
        (
            "at least one weight must be above 0",
            json!({"pairing": {"weights": {
                "geography": 0, "capacity": 0, "bandwidth": 0, "latency": 0, "stability": 0, "load": 0,
            }}}),
        ),
        ("minSliceSize must not be above maxSliceSize", sizes("9Mi", "8Mi", "8Mi")),
        ("shardSize must not be below minSliceSize", sizes("8Mi", "7Mi", "9Mi")),
        ("shardSize must not be above maxSliceSize", sizes("1Mi", "10Mi", "9Mi")),
        ("heartbeat must be shorter than suspectAfter", json!({"failover": {"heartbeat": "6s"}})),
        (
            "suspectAfter must be shorter than failAfter",
            json!({"failover": {"suspectAfter": "10s"}}),
        ),
        (
            "failAfter must be shorter than replaceAfter",
            json!({"failover": {"replaceAfter": "10s"}}),
        ),
        ("must be 64Mi to 1024Ti", json!({"storage": {"size": "1Mi"}})),
        ("should be less than or equal to 1000", json!({"replicas": 1001})),
        ("Unsupported value: \"Maybe\"", json!({"profile": "Maybe"})),
        ("field not declared in schema", json!({"replica": 6})),
    ]
}

#[tokio::test]
async fn wrong_objects_are_refused_with_the_words_of_their_rule() -> Result<()> {
    with_namespace("refused", async |ns| {
        let whole = |over: Value| json!({"spec": Network::spec(ns, over)});
        assert_eq!(refusal::<DefsCluster>(ns, "good", whole(json!({}))).await?, None);
        for (words, over) in clusters() {
            let shown = over.to_string();
            let told = refusal::<DefsCluster>(ns, "bad", whole(over)).await?;
            let told = told.with_context(|| format!("{shown} was taken, not: {words}"))?;
            ensure!(told.contains(words), "{shown}: {told}, not: {words}");
        }
        let long = refusal::<DefsCluster>(ns, &"n".repeat(41), whole(json!({}))).await?;
        let long = long.context("a long name was taken")?;
        ensure!(long.contains("the name has at most 40 characters"), "{long}");
        pairs_and_nodes(ns).await?;
        what_is_the_operators(ns).await?;
        changes(ns).await
    })
    .await
}

async fn pairs_and_nodes(ns: &Namespace) -> Result<()> {
    let members = |one: Value, other: Value| json!({"spec": {"clusterRef": {"name": "demo"}, "members": [one, other]}});
    let member = |name: &str| json!({"nodeRef": {"name": name}});
    let primary = |name: &str| json!({"nodeRef": {"name": name}, "preferredRole": "Primary"});
    for (words, pair) in [
        ("the two members of a pair must be two nodes", members(member("a"), member("a"))),
        ("can't both prefer the same role", members(primary("a"), primary("b"))),
    ] {
        let told = refusal::<DefsPair>(ns, "bad", pair).await?.context(words)?;
        ensure!(told.contains(words), "{told}, not: {words}");
    }
    let unseen = json!({"spec": {
        "clusterRef": {"name": "demo"}, "index": 0, "replace": {"acknowledgeLost": "12D3Koo"}}});
    let told = refusal::<DefsNode>(ns, "bad", unseen).await?.context("a node nobody has seen")?;
    ensure!(told.contains("can only be said of a node that has a status.peerId"), "{told}");
    Ok(())
}

/// What the chart's policies leave to the operator.
async fn what_is_the_operators(ns: &Namespace) -> Result<()> {
    let node = json!({"spec": {"clusterRef": {"name": "demo"}, "index": 0}});
    let told = refusal::<DefsNode>(ns, "demo-0", node).await?.context("a node was made by hand")?;
    ensure!(told.contains("the operator makes the DefsNodes of a DefsCluster"), "{told}");
    let members = [json!({"nodeRef": {"name": "a"}}), json!({"nodeRef": {"name": "b"}})];
    let pair = |origin: &str| json!({"spec": {"clusterRef": {"name": "demo"}, "members": members, "origin": origin}});
    assert_eq!(refusal::<DefsPair>(ns, "mine", pair("Pinned")).await?, None);
    let told =
        refusal::<DefsPair>(ns, "bad", pair("Auto")).await?.context("an Auto pair by hand")?;
    ensure!(told.contains("a DefsPair with origin Auto is made by the operator"), "{told}");
    Ok(())
}

/// What may not change, and what only the operator writes.
async fn changes(ns: &Namespace) -> Result<()> {
    // Nothing is made of it.
    let paused = json!({"paused": {"all": true}, "storage": {"size": "2Gi"}});
    let network = Network::make(ns, "demo", paused.clone()).await?;
    for (words, over) in [
        ("storage.size can't become smaller", json!({"storage": {"size": "1Gi"}})),
        (
            "storage.storageClassName can't be changed",
            json!({"storage": {"storageClassName": "x"}}),
        ),
    ] {
        let spec = Network::spec(ns, merged(paused.clone(), over));
        let told = refusal::<DefsCluster>(ns, "demo", json!({"spec": spec})).await?;
        let told = told.with_context(|| format!("not refused: {words}"))?;
        ensure!(told.contains(words), "{told}, not: {words}");
    }
    network.says(defs_crds::reason::ConditionType::Paused, "True", &[], seconds(30)).await?;
    only_the_operator_writes_status(ns).await
}

async fn only_the_operator_writes_status(ns: &Namespace) -> Result<()> {
    let kind = ApiResource::erase::<DefsCluster>(&());
    let clusters = Api::<DynamicObject>::namespaced_with(ns.client(), ns.name(), &kind);
    let lie = Patch::Merge(json!({"status": {"phase": "Ready"}}));
    let told = said(clusters.patch_status("demo", &PatchParams::default(), &lie).await)?;
    let told = told.context("a person wrote the status")?;
    ensure!(told.contains("the status is the operator's word"), "{told}");
    Ok(())
}
