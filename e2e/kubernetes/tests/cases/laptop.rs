//! An owner whose laptop reaches the cluster through one port-forward.

use anyhow::{Context as _, Result, ensure};
use defs_e2e::noise;
use defs_e2e_kubernetes::{Laptop, Network, seconds, with_namespace};
use serde_json::json;
use tokio::time::Instant;

#[tokio::test]
async fn from_a_laptop_one_port_forward_is_enough_to_put_get_and_remove() -> Result<()> {
    with_namespace("laptop", async |ns| {
        let network = Network::ready(ns, "demo", json!({})).await?;
        let laptop = Laptop::of(&network).await?;
        let bytes = noise(1, 20_000_003);
        let began = Instant::now();
        laptop.put("film", &bytes).await?;
        let put = began.elapsed();
        let (got, said) =
            laptop.defs(&["--set", "logLevel=debug", "get", "film", "-o", "-"]).await?;
        ensure!(got == bytes, "another file came back");
        let went = "a node that can't be dialled is reached by way of another";
        ensure!(said.contains(went), "it went another way:\n{said}");
        ns.figure("20 MB put, and got", format!("{put:.1?}, {:.1?}", began.elapsed() - put))?;

        let (name, bytes) = ("note", noise(2, 50_000));
        laptop.put(name, &bytes).await?;
        let status = laptop.defs(&["--json", "stat", "film", "--ask"]).await?;
        ensure!(!status.0.is_empty(), "nobody said where the file lies");
        laptop.defs(&["rm", "film"]).await?;
        let gone = laptop.defs(&["get", "film", "-o", "-"]).await.err().context("it was read")?;
        ensure!(format!("{gone:#}").contains("unknown"), "{gone:#}");
        ensure!(laptop.defs(&["get", name, "-o", "-"]).await?.0 == bytes, "{name} differs");
        network.is_ready(seconds(60)).await.map(drop)
    })
    .await
}
